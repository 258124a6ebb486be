package rpc_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/rpc"
)

// A listener that is held to the limits of a server closes connections beyond them, and its connections can end what they send alone.
func TestABoundListener(t *testing.T) {
	t.Parallel()
	e := edge(t, func(c *rpc.Config) { c.Limits.Connections = 1 })
	inner, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := e.Bound(inner)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		return conn
	}
	client := dial()
	server := <-accepted
	if n, err := dial().Read(make([]byte, 1)); n != 0 || timedOut(err) {
		t.Errorf("a second connection: %d, %v, want it closed", n, err)
	}
	if err := server.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
		t.Errorf("read %q, %v, want the end", rest, err)
	}
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Errorf("the other way: %v", err)
	}
	_ = server.Close()
	_ = dial() // there is a place again
	_ = (<-accepted).Close()
	_ = ln.Close()
	if _, open := <-accepted; open {
		t.Error("accepted after it was closed")
	}
}
