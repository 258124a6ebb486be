package replicator_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// talkative is an instance that says more than its Content-Length: a length counted in characters and sent in bytes is the classic.
// It tells whose request it answers.
func talkative(t *testing.T, length, extra int) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				br := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					body := strings.Repeat(req.URL.Path[1:], length+extra)
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", length, body)
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-served })
	return ln
}

// TestWhatAnInstanceSaysTooMuchReachesNobody: the rest of one user's answer is no part of another's. (net/http looks, too, but after
// it has given a connection back.)
func TestWhatAnInstanceSaysTooMuchReachesNobody(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int{"read at once": 10, "longer than the buffer": 20_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, options{})
			r.platform.set(ready("talkative", talkative(t, length, 3).Addr().String()))
			for _, who := range []string{"a", "b", "c", "d"} {
				code, body := do(t, r.client, request(t, http.MethodGet, r.url+"/"+who, ""))
				if code != http.StatusOK || body != strings.Repeat(who, length) {
					t.Errorf("request %s: got %d and %.20q of %d bytes", who, code, body, len(body))
				}
			}
		})
	}
}
