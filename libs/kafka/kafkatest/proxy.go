package kafkatest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy stands between clients and a broker, and can lose acknowledgements: the broker has written a slice, and the
// client sees its connection break instead of the answer.
type Proxy struct {
	addr     string
	upstream string
	lose     atomic.Int64
	conns    sync.WaitGroup
}

func newProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{addr: listener.Addr().String(), upstream: upstream}
	p.conns.Go(func() {
		for client, err := listener.Accept(); err == nil; client, err = listener.Accept() {
			p.conns.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		p.conns.Wait()
	})
	return p
}

// LoseAcks loses the answers to the next n produce requests, and returns how many were still to be lost.
func (p *Proxy) LoseAcks(n int) int { return int(max(0, p.lose.Swap(int64(n)))) }

// serve relays one request and its answer at a time, which is how kafka-go uses a connection.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	broker, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	defer broker.Close()
	for {
		request, err := readFrame(client)
		if err != nil {
			return
		}
		if _, err := broker.Write(request); err != nil {
			return
		}
		answer, err := readFrame(broker)
		if err != nil {
			return
		}
		if isProduce(request) && p.lose.Add(-1) >= 0 {
			return
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

// readFrame reads a Kafka message with its length in front.
func readFrame(conn net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(frame, size[:])
	_, err := io.ReadFull(conn, frame[4:])
	return frame, err
}

// isProduce reads the API key, which follows the length; that of a produce request is 0.
func isProduce(frame []byte) bool { return len(frame) >= 6 && binary.BigEndian.Uint16(frame[4:]) == 0 }
