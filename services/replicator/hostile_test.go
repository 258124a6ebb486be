package replicator_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

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

// TestAnswerBeforeTheEndOfAnUpload: a client that reads nothing before it has sent all still gets the answer that came early, as it
// would from the instance, if that hears it out.
func TestAnswerBeforeTheEndOfAnUpload(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		r.platform.set(ready("early", talker(t, func(conn net.Conn, _ string) {
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		})))
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		const piece = 64 << 10
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 100*piece)
		for range 100 { // a second: longer than net/http goes on to hear
			if _, err := conn.Write(make([]byte, piece)); err != nil {
				t.Fatalf("while sending: %v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("%v %v", res, err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "no" {
			t.Errorf("%q %v", body, err)
		}
	})
}
