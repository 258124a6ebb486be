package replicator_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator"
)

// shapes are requests that servers are known to read differently, each with a request that may hide in it.
func shapes() map[string]string {
	const head, hidden = "POST /outer HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n", "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	return map[string]string{
		"both lengths":            head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"both, the other way":     head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"two lengths":             head + "Content-Length: 5\r\nContent-Length: 3\r\n\r\nhello",
		"two equal lengths":       head + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"a list of lengths":       head + "Content-Length: 5, 5\r\n\r\nhello",
		"a signed length":         head + "Content-Length: +5\r\n\r\nhello",
		"a hexadecimal length":    head + "Content-Length: 0x5\r\n\r\nhello",
		"blank before the colon":  head + "Content-Length : 5\r\n\r\nhello",
		"coding in disguise":      head + "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\nhello",
		"coding with a tab":       head + "Transfer-Encoding:\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"coding on a folded line": head + "Transfer-Encoding:\r\n chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"two codings":             head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"folded header":           head + "X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
		"bare line feeds":         "POST /outer HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 5\n\nhello",
		"one bare line feed":      head + "X: a\nContent-Length: 5\r\n\r\nhello",
		"bare carriage return":    head + "X: a\rContent-Length: 5\r\n\r\n",
		"NUL in a value":          head + "X: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
		"NUL in a name":           head + "X\x00: a\r\nContent-Length: 5\r\n\r\nhello",
		"chunk size with a sign":  head + "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
		"chunk size overflow":     head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
		"chunk with a bare feed":  head + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
		"chunk longer than said":  head + "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
		"length in a trailer":     head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n",
		"two hosts":               "GET /outer HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"no host":                 "GET /outer HTTP/1.1\r\n\r\n",
		"absolute target":         "GET http://other/outer HTTP/1.1\r\nHost: x\r\n\r\n",
		"target with a blank":     "GET /outer HTTP/1.1 /x HTTP/1.1\r\nHost: x\r\n\r\n",
		"HTTP/1.0 with a coding":  "POST /outer HTTP/1.0\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET with a body":         "GET /outer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"named by Connection":     head + "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
	}
}

// raw is an instance that keeps every byte it gets, and reads them like net/http does.
type raw struct {
	net.Listener
	mu      sync.Mutex
	seen    []string
	headers []http.Header
	wire    strings.Builder
	wg      sync.WaitGroup
}

// heads returns the bytes that came since it was last called.
func (r *raw) heads() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.wire.Reset()
	return r.wire.String()
}

// Write keeps what came.
func (r *raw) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wire.Write(p)
}

// told is method, target, host and body of a request.
func toldOf(r *http.Request, body []byte) string {
	return fmt.Sprintf("%s %s %s %q", r.Method, r.URL.RequestURI(), r.Host, body)
}

func startRaw(t *testing.T) *raw {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{Listener: ln}
	r.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(t, conn) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); r.wg.Wait() })
	return r
}

func (r *raw) serve(t *testing.T, conn net.Conn) {
	defer conn.Close()
	br := bufio.NewReader(io.TeeReader(conn, r))
	for {
		// What a strict reader refuses, no instance may get.
		line, err := br.Peek(1)
		if err != nil || len(line) == 0 {
			return
		}
		req, err := http.ReadRequest(br)
		if err != nil {
			t.Errorf("an instance got what is no request: %v", err)
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // cut off half way: nothing was understood
		}
		if len(req.Header["Content-Length"]) > 0 && len(req.TransferEncoding) > 0 || len(req.Header["Content-Length"]) > 1 {
			t.Errorf("an instance got two lengths: %v", req)
		}
		r.mu.Lock()
		r.seen, r.headers = append(r.seen, toldOf(req, body)), append(r.headers, req.Header)
		r.mu.Unlock()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 16:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
	}
}

// sentinel ends a conversation: a server closes behind it, or before it when it refuses what came before.
const sentinel = "GET /sentinel HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// say sends bytes and the sentinel, and returns all that is answered.
func say(t *testing.T, address, bytes string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(conn, bytes+sentinel)
	answers, _ := io.ReadAll(conn) // a reset is a refusal, too
	return string(answers)
}

// TestSmugglingShapes: each is refused, or an instance, net/http itself and the copy understand the same by it.
func TestSmugglingShapes(t *testing.T) {
	t.Parallel()
	r := start(t, options{
		workload: func(w *workload.Workload) { w.Tap.Methods, w.Tap.RedactQuery = []string{"GET", "POST"}, nil },
		config:   func(c *replicator.Config) { c.KeepBodies = append(c.KeepBodies, "text/plain") },
	})
	instance := startRaw(t)
	r.platform.set(ready("raw", instance.Addr().String()))
	var mu sync.Mutex
	var plain []string
	reference := serve(t, func(_ http.ResponseWriter, req *http.Request) {
		if body, err := io.ReadAll(req.Body); err == nil {
			mu.Lock()
			defer mu.Unlock()
			plain = append(plain, toldOf(req, body))
		}
	})
	refused := map[string]bool{}
	for name, shape := range shapes() {
		host := strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ",", "")
		shape = strings.ReplaceAll(shape, "/outer", "/outer/"+host)
		shape = strings.ReplaceAll(shape, "/hidden", "/hidden/"+host)
		answers := say(t, strings.TrimPrefix(r.url, "http://"), shape)
		refused[host] = !strings.HasPrefix(answers, "HTTP/1.1 200") && !strings.HasPrefix(answers, "HTTP/1.0 200")
		say(t, address(reference), shape)
	}
	copies := r.captured()
	_ = instance.Close()
	instance.wg.Wait()

	of := func(list []string, host string) (out []string) {
		for _, s := range list {
			if strings.Contains(s, "/"+host+" ") {
				out = append(out, s)
			}
		}
		return out
	}
	var copied []string
	for _, c := range copies {
		copied = append(copied, fmt.Sprintf("%s %s %s %q", c.GetMethod(), c.GetTarget(), c.GetHost(), c.GetBody()))
	}
	for host, no := range refused {
		understood, want, copied := of(instance.seen, host), of(plain, host), of(copied, host)
		if no && len(understood)+len(copied) > 0 {
			t.Errorf("%s: refused, and yet the instance got %v and the copies are %v", host, understood, copied)
		}
		if diff := cmp.Diff(want, understood); diff != "" && !no {
			t.Errorf("%s: net/http understands otherwise than the instance (-net/http +instance):\n%s", host, diff)
		}
		for _, s := range copied {
			// The body of a safe method does not travel.
			if !slices.Contains(understood, s) && !slices.Contains(understood, strings.Replace(s, `""`, `"hello"`, 1)) {
				t.Errorf("%s: copied %s, the instance understood %v", host, s, understood)
			}
		}
		t.Logf("%-24s refused %-5v instance %v", host, no, understood)
	}
}
