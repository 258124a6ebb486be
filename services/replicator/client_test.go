package replicator_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBothWaysBearOddClients: clients that do not do as most do hear the same from the short way and from net/http.
func TestBothWaysBearOddClients(t *testing.T) {
	t.Parallel()
	const get, last = "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, get, i)
		}
		return b.String()
	}
	clients := map[string]struct {
		says string
		half bool // closes its side then
		hear []string
	}{
		"pipelines hundreds":        {says: many(300) + last, hear: append(paths(300), "/last")},
		"goes on behind the last":   {says: last + many(3), hear: []string{"/last"}},
		"talks nonsense":            {says: many(1) + "nonsense that is no request\r\n\r\n", hear: append(paths(1), "400 Bad Request")},
		"begins with an empty line": {says: "\r\n" + last, hear: []string{"400 Bad Request"}},
		"ends its forms with a blank line": {
			says: strings.Repeat("POST /0 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\r\n", 2) + last, hear: []string{"/0", "/0", "/last"},
		},
		"says nothing":                     {half: true},
		"stops in its first line":          {says: "GET /0 HT", half: true, hear: []string{"400 Bad Request"}},
		"asks for a large part of nothing": {says: "GET /0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=0-" + strings.Repeat("9", 4000) + "\r\n\r\n", hear: paths(1)},
		"has a thousand headers":           {says: "GET /0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n", hear: paths(1)},
	}
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
			if _, err := io.Copy(io.Discard, req.Body); err == nil {
				_, _ = io.WriteString(w, "path "+req.URL.Path+"\n")
			}
		}))
		for name, c := range clients {
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			_, _ = io.WriteString(conn, c.says)
			if c.half {
				_ = conn.(*net.TCPConn).CloseWrite()
			}
			all, _ := io.ReadAll(conn)
			_ = conn.Close()
			var got []string
			for line := range strings.Lines(string(all)) {
				if path, is := strings.CutPrefix(line, "path "); is {
					got = append(got, strings.TrimSpace(path))
				}
				if status, is := strings.CutPrefix(line, "HTTP/1.1 "); is && !strings.HasPrefix(status, "200") {
					got = append(got, strings.TrimSpace(status))
				}
			}
			if diff := cmp.Diff(c.hear, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

// paths are those of the first n requests.
func paths(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint("/", i))
	}
	return slices.Clip(list)
}
