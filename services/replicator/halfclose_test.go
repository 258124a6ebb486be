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
)

// TestUpgradedConnectionClosesOneWayAtATime: who has said all it will still hears the other side out, as with a shell whose
// input ends. Either side may be the first.
func TestUpgradedConnectionClosesOneWayAtATime(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		heard := make(chan int64, 2)
		r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n")
			if req.URL.Path == "/instance-first" {
				_, _ = io.WriteString(conn, "all I say")
				_ = conn.(*net.TCPConn).CloseWrite()
			}
			n, err := io.Copy(io.Discard, rw)
			if err != nil {
				t.Error(err)
			}
			_, _ = fmt.Fprint(conn, n)
			heard <- n
		}))
		for path, want := range map[string]string{"/client-first": "100", "/instance-first": "all I say"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n", path)
			br := bufio.NewReader(conn)
			if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%v %v", res, err)
			}
			say := func() {
				_, _ = io.WriteString(conn, strings.Repeat("x", 100))
				_ = conn.(*net.TCPConn).CloseWrite()
			}
			if path == "/client-first" {
				say()
			}
			if got, err := io.ReadAll(br); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v, want %q", path, got, err, want)
			}
			if path == "/instance-first" {
				say()
			}
			if n := <-heard; n != 100 {
				t.Errorf("%s: the instance heard %d bytes, want 100", path, n)
			}
			_ = conn.Close()
		}
		if _, sum := r.observed(); sum.Total().Errors != 0 {
			t.Errorf("observed %+v", sum.Total())
		}
	})
}
