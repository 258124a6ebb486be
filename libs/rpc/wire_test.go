package rpc_test

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// open sends the headers of a call; the timeout is in gRPC's own form. A connection that the server has closed by now is
// what the caller finds out later.
func (w *wire) open(method string, token workload.Secret, timeout string) uint32 {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	if token != "" {
		_ = enc.WriteField(hpack.HeaderField{Name: "authorization", Value: "Bearer " + token.Reveal()})
	}
	if timeout != "" {
		_ = enc.WriteField(hpack.HeaderField{Name: "grpc-timeout", Value: timeout})
	}
	id := w.next
	w.next += 2
	raw := block.Bytes()
	const frame = 16 << 10
	_ = w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: raw[:min(frame, len(raw))], EndHeaders: len(raw) <= frame})
	return id
}

func (w *wire) data(id uint32, body []byte, end bool) { _ = w.framer.WriteData(id, end, body) }

// trickle sends a byte now and then until the call has ended.
func (w *wire) trickle(id uint32) {
	for {
		if _, ended := w.result(id); ended || w.framer.WriteData(id, false, []byte{0}) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *wire) tryReset(id uint32) bool {
	return w.framer.WriteRSTStream(id, http2.ErrCodeCancel) == nil
}

// listen reads what the server says: the status of calls, resets, and the end.
func (w *wire) listen() {
	defer close(w.heard)
	w.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := w.framer.ReadFrame()
		if err != nil {
			return
		}
		w.mu.Lock()
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if n, err := strconv.Atoi(h.Value); h.Name == "grpc-status" && err == nil {
					w.ended[f.StreamID] = codes.Code(n) // #nosec G115: below 17
				}
			}
		case *http2.RSTStreamFrame:
			w.broken = f.ErrCode
		}
		w.mu.Unlock()
	}
}

func (w *wire) result(id uint32) (codes.Code, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	code, ended := w.ended[id]
	return code, ended
}

// status waits for the end of a call.
func (w *wire) status(id uint32) codes.Code {
	w.t.Helper()
	eventually(w.t, "the call ends", func() bool {
		_, ended := w.result(id)
		return ended
	})
	code, _ := w.result(id)
	return code
}

// reset is the code of the last stream that was reset.
func (w *wire) reset() http2.ErrCode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

// readAll waits until the server hangs up.
func (w *wire) readAll() {
	w.t.Helper()
	select {
	case <-w.heard:
	case <-time.After(patience):
		w.t.Errorf("the server keeps the %v", w)
	}
}
