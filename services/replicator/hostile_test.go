package replicator_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/services/replicator"
)

// TestAnswerWhoseHeadDoesNotEnd: an instance that sends line after line is given up, with an error for this one client, before
// it fills the memory of all. A head that is merely large passes.
func TestAnswerWhoseHeadDoesNotEnd(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		const most = 16 << 20
		r.platform.set(ready("endless", talker(t, func(conn net.Conn, path string) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 16:00:00 GMT\r\nContent-Length: 0\r\n")
			size := most
			if path == "/large" {
				size = 500_000
			}
			sent, line := 0, "X-Line: "+strings.Repeat("x", 1000)+"\r\n"
			for sent < size {
				n, err := io.WriteString(conn, line)
				if sent += n; err != nil {
					break
				}
			}
			if _, err := io.WriteString(conn, "\r\n"); err == nil && path != "/large" {
				t.Errorf("an instance could send %d bytes of a head", sent)
			}
		})))
		for path, want := range map[string]int{"/endless": http.StatusBadGateway, "/large": http.StatusOK} {
			if code, _ := do(t, r.client, request(t, http.MethodPost, r.url+path, "")); code != want {
				t.Errorf("%s: got %d, want %d", path, code, want)
			}
		}
	})
}

// talker is an instance that reads a request, answers by itself, and closes the connection.
func talker(t *testing.T, answer func(conn net.Conn, path string)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				answer(conn, req.URL.Path)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

// TestReasonOfAnAnswerIsOneLine: what other servers might read as the end of a line does not pass.
func TestReasonOfAnAnswerIsOneLine(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: func(c *replicator.Config) { c.ShortWay = true }})
	r.platform.set(ready("odd", talker(t, func(conn net.Conn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Fine\rX-Hidden: 1\r\nContent-Length: 0\r\n\r\n")
	})))
	if answer := say(t, strings.TrimPrefix(r.url, "http://"), ""); !strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("answered %q", answer)
	}
}
