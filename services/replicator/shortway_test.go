package replicator_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/services/replicator"
)

// bothWays runs a test on the short way and on net/http's.
func bothWays(t *testing.T, run func(t *testing.T, o options)) {
	t.Helper()
	for name, short := range map[string]bool{"short way": true, "net/http": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, options{config: func(c *replicator.Config) { c.ShortWay = short }})
		})
	}
}

// with adds to what the way has set.
func (o options) with(config func(*replicator.Config)) options {
	way := o.config
	o.config = func(c *replicator.Config) { way(c); config(c) }
	return o
}

// answers are what instances may say, plain and not.
func answers() map[string]string {
	const ok, date = "HTTP/1.1 200 OK\r\n", "Date: Fri, 27 Nov 2026 16:00:00 GMT\r\n"
	const dated = ok + date
	return map[string]string{
		"plain":                   dated + "Content-Length: 5\r\nContent-Type: text/plain\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello",
		"empty":                   dated + "Content-Length: 0\r\n\r\n",
		"no type":                 dated + "Content-Length: 5\r\n\r\nhello",
		"kept alive":              dated + "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello",
		"a header of the hop":     dated + "Connection: X-Hop, close\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\nhello",
		"failure":                 "HTTP/1.1 503 Busy\r\n" + date + "Content-Length: 4\r\nRetry-After: 3\r\n\r\nlate",
		"unknown status":          "HTTP/1.1 799 Odd\r\n" + date + "Content-Length: 3\r\n\r\nodd",
		"no reason":               "HTTP/1.1 200\r\n" + date + "Content-Length: 5\r\n\r\nhello",
		"large":                   dated + "Content-Length: 100000\r\n\r\n" + strings.Repeat("0123456789", 10_000),
		"large head":              dated + "X-Large: " + strings.Repeat("x", 20_000) + "\r\nContent-Length: 5\r\n\r\nhello",
		"more than was said":      dated + "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden",
		"chunked":                 dated + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
		"chunked with trailers":   dated + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 9\r\nX-Late: 1\r\n\r\n",
		"chunked and a length":    dated + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"until the end":           dated + "\r\nhello",
		"HTTP/1.0":                "HTTP/1.0 200 OK\r\n" + date + "\r\nhello",
		"no content":              "HTTP/1.1 204 No Content\r\n" + date + "X-A: 1\r\n\r\n",
		"not modified":            "HTTP/1.1 304 Not Modified\r\n" + date + "Etag: \"a\"\r\nContent-Length: 5\r\n\r\n",
		"hints before":            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + dated + "Content-Length: 5\r\n\r\nhello",
		"too many hints":          strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9) + dated + "Content-Length: 5\r\n\r\nhello",
		"another protocol":        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"an event stream":         dated + "Content-Type: text/event-stream\r\n\r\ndata: 1\n\ndata: 2\n\n",
		"two lengths":             dated + "Content-Length: 5\r\nContent-Length: 3\r\n\r\nhello",
		"two equal lengths":       dated + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"a signed length":         dated + "Content-Length: +5\r\n\r\nhello",
		"folded":                  dated + "X-A: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
		"bare line feeds":         "HTTP/1.1 200 OK\n" + strings.TrimSuffix(date, "\r\n") + "\nContent-Length: 5\n\nhello",
		"NUL":                     dated + "X-A: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
		"no HTTP":                 "220 smtp.example\r\n\r\n",
		"nothing":                 "",
		"half a head":             dated,
		"half a body":             dated + "Content-Length: 10\r\n\r\nhello",
		"half a large body":       dated + "Content-Length: 100000\r\n\r\n" + strings.Repeat("0123456789", 5_000),
		"half a chunk":            dated + "Transfer-Encoding: chunked\r\n\r\n9\r\nhello",
		"chunk of no size":        dated + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
		"no end of chunks":        dated + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"chunked in another case": dated + "transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	}
}

// scripted is an instance that answers the request /n with the answer of that number.
func scripted(t *testing.T, answers []string) string {
	return talker(t, func(conn net.Conn, path string) {
		var n int
		_, _ = fmt.Sscanf(path, "/%d", &n)
		_, _ = io.WriteString(conn, answers[n])
	})
}

// heard is what a client makes of an answer.
type heard struct {
	Status  string
	Header  http.Header
	Body    string
	Broken  bool
	Trailer http.Header
}

func hear(t *testing.T, address string, n int) (h heard) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", n)
	br := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			return heard{Broken: true}
		}
		body, err := io.ReadAll(res.Body)
		h.Status += fmt.Sprint(res.StatusCode, " ")
		if res.StatusCode < 200 {
			continue
		}
		if res.Header.Get("Date") == "" {
			t.Errorf("answer %d has no date", n)
		}
		// The body tells its length; the rest is between the two ends of a connection.
		for _, name := range []string{"Date", "Content-Length", "Trailer", "Connection"} {
			res.Header.Del(name)
		}
		return heard{h.Status, res.Header, string(body), err != nil, res.Trailer}
	}
}

// TestBothWaysAnswerAlike: whatever an instance says, a client hears the same on the short way as from net/http.
func TestBothWaysAnswerAlike(t *testing.T) {
	t.Parallel()
	var names, list []string
	for name, text := range answers() {
		names, list = append(names, name), append(list, text)
	}
	var got [2][]heard
	var rigs [2]*rig
	for way, short := range []bool{false, true} {
		rigs[way] = start(t, options{config: func(c *replicator.Config) { c.ShortWay = short }})
		rigs[way].platform.set(ready("scripted", scripted(t, list)))
		for i := range list {
			got[way] = append(got[way], hear(t, strings.TrimPrefix(rigs[way].url, "http://"), i))
		}
	}
	for i, name := range names {
		if diff := cmp.Diff(got[0][i], got[1][i]); diff != "" {
			t.Errorf("%s (-net/http +short way):\n%s", name, diff)
		}
	}
	_, long := rigs[0].observed()
	_, short := rigs[1].observed()
	a, b := long.Total(), short.Total()
	if a.Requests != b.Requests || a.Responses != b.Responses || a.Errors != b.Errors || a.SLOViolations != b.SLOViolations {
		t.Errorf("net/http observed %+v, the short way %+v", a, b)
	}
}

// TestBothWaysAskAlike: an instance gets the same from the short way as from net/http, however the request is shaped, and
// however it is cut into pieces.
func TestBothWaysAskAlike(t *testing.T) {
	t.Parallel()
	asked := shapes()
	for name, text := range map[string]string{
		"plain":       "GET /outer?a=b&&c=%zz;d HTTP/1.1\r\nhost: x\r\nx-a: 1\r\nX-A:2\r\nAccept-Encoding: br\r\n\r\n",
		"with a body": "POST /outer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"behind":      "GET /outer HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=a\r\nX-Forwarded-Proto: https\r\n\r\n",
		"pipelined":   "GET /outer HTTP/1.1\r\nHost: x\r\n\r\nPOST /outer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"large":       "POST /outer HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + strings.Repeat("0123456789", 5000),
		"hop by hop":  "GET /outer HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTe: trailers\r\n\r\n",
		"mixed":       "GET /outer HTTP/1.1\r\nHost: x\r\n\r\nHEAD /outer HTTP/1.1\r\nHost: x\r\n\r\nGET /outer HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		asked[name] = text
	}
	var instances [2]*raw
	var rigs [2]*rig
	for way, short := range []bool{false, true} {
		rigs[way] = start(t, options{config: func(c *replicator.Config) { c.ShortWay = short }})
		instances[way] = startRaw(t)
		rigs[way].platform.set(ready("raw", instances[way].Addr().String()))
	}
	var wg sync.WaitGroup
	for name, text := range asked {
		for _, pieces := range []int{1, 3} {
			mark := "/" + strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' {
					return '-'
				}
				return r
			}, fmt.Sprint(name, pieces)) + "/"
			text := strings.NewReplacer("/outer", mark, "/hidden", mark).Replace(text)
			wg.Go(func() {
				var seen [2]any
				for way, r := range rigs {
					answers := sayIn(t, pieces, strings.TrimPrefix(r.url, "http://"), text)
					seen[way] = []any{instances[way].of(mark), answers}
				}
				if diff := cmp.Diff(seen[0], seen[1]); diff != "" {
					t.Errorf("%s in %d pieces (-net/http +short way):\n%s", name, pieces, diff)
				}
			})
		}
	}
	wg.Wait()
	rigs[0].stop() // first, for instances wait for their connections
	rigs[1].stop()
}

// of returns what was seen of the requests with a mark in their target.
func (r *raw) of(mark string) (out []any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.seen {
		if strings.Contains(s, mark) {
			out = append(out, s, r.headers[i])
		}
	}
	return out
}

// sayIn is say in pieces, between which there is time. It returns the statuses of the answers.
func sayIn(t *testing.T, pieces int, address, text string) (statuses []string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	text += sentinel
	for i := range pieces {
		if i > 0 {
			time.Sleep(time.Millisecond) // so that the pieces arrive as such; what comes of it must be the same if they do not
		}
		_, _ = io.WriteString(conn, text[len(text)*i/pieces:len(text)*(i+1)/pieces])
	}
	answers, _ := io.ReadAll(conn) // a reset is a refusal, too
	for line := range strings.SplitSeq(string(answers), "\r\n") {
		if strings.HasPrefix(line, "HTTP/1.") {
			statuses = append(statuses, line)
		}
	}
	return statuses
}

// TestShortWayKeepsItsPlace: a connection stays on the short way while its requests are plain, and then is net/http's, which
// the marks of the two tell: net/http writes names in its own way, the short way as they came.
func TestShortWayKeepsItsPlace(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	instance := startRaw(t)
	r.useNow(instance.Addr().String())
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	for i, c := range []struct{ ask, want string }{
		{"GET /a HTTP/1.1\r\nHost: x\r\nx-oDD: 1\r\n\r\n", "x-oDD"},
		{"POST /a HTTP/1.1\r\nHost: x\r\nx-oDD: 1\r\nContent-Length: 1\r\n\r\nx", "x-oDD"},
		{"GET /a HTTP/1.1\r\nHost: x\r\nx-oDD: 1\r\nTe: trailers\r\n\r\n", "X-Odd"},
		{"GET /a HTTP/1.1\r\nHost: x\r\nx-oDD: 1\r\n\r\n", "X-Odd"},
	} {
		_, _ = io.WriteString(conn, c.ask)
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%d: %v %v", i, res, err)
		}
		_ = res.Body.Close()
		if heads := instance.heads(); !strings.Contains(heads, "\r\n"+c.want+": 1\r\n") {
			t.Errorf("request %d went the other way: %q", i, heads)
		}
	}
	r.stop()
}

// TestConnectionClosedWhileIdle: an instance may close a connection whenever nothing is under way. No request of the short way
// fails by that, one that must not be sent twice least of all. (net/http's fail when they come at that moment.)
func TestConnectionClosedWhileIdle(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	instance := serve(t, func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(w, req.Body) })
	r.useNow(address(instance))
	for i := range 20 {
		method := []string{http.MethodGet, http.MethodPost}[i%2]
		if code, _ := do(t, r.client, request(t, method, r.url, "")); code != http.StatusOK {
			t.Errorf("%s %d: got %d", method, i, code)
		}
		instance.CloseClientConnections() // closed, and seen to be closed
	}
	if _, sum := r.observed(); sum.Total().Errors != 0 {
		t.Errorf("observed %+v", sum.Total())
	}
}

// TestRequestThatBreaksItsInstance: a request by which an instance breaks the connection is not tried on every connection that is kept.
func TestRequestThatBreaksItsInstance(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	const kept = 10
	var together sync.WaitGroup
	together.Add(kept)
	var broken atomic.Int32
	r.useNow(address(serve(t, func(_ http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/break" {
			broken.Add(1)
			panic(http.ErrAbortHandler)
		}
		together.Done()
		together.Wait() // so that each has a connection of its own
	})))
	var asking sync.WaitGroup
	for range kept {
		asking.Go(func() { do(t, r.client, request(t, http.MethodGet, r.url, "")) })
	}
	asking.Wait()
	if code, _ := do(t, r.client, request(t, http.MethodGet, r.url+"/break", "")); code != http.StatusBadGateway {
		t.Errorf("got %d", code)
	}
	if n := broken.Load(); n > 4 { // on a kept and a fresh connection, and the same once more
		t.Errorf("an instance got it %d times", n)
	}
}

// TestSlowAnswerAndNextRequest: what a client sends while it waits is its next request, and is not lost to the eye that is
// kept on it.
func TestSlowAnswerAndNextRequest(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	release := make(chan struct{})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			<-release
		}
		_, _ = io.WriteString(w, req.URL.Path)
	}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	time.Sleep(50 * time.Millisecond) // longer than the proxy waits before it looks; if it does not yet, the answers are the same
	_, _ = io.WriteString(conn, "GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
	time.AfterFunc(10*time.Millisecond, func() { close(release) })
	br := bufio.NewReader(conn)
	for _, want := range []string{"/slow", "/next"} {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != want {
			t.Errorf("got %q, %v", body, err)
		}
	}
}

// TestEndClosesIdleConnections: at the end an idle connection is closed soon, and one that is under way is
// told that there is no next request.
func TestEndClosesIdleConnections(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o.with(func(c *replicator.Config) { c.DrainTimeout = 10 * time.Second }))
		arrived, release := make(chan struct{}), make(chan struct{})
		r.use(serve(t, func(_ http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/busy" {
				close(arrived)
				<-release
			}
		}))
		ask := func(path string) (net.Conn, *bufio.Reader) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			return conn, bufio.NewReader(conn)
		}
		idle, fromIdle := ask("/")
		defer idle.Close()
		if _, err := http.ReadResponse(fromIdle, nil); err != nil {
			t.Fatal(err)
		}
		busy, fromBusy := ask("/busy")
		defer busy.Close()
		<-arrived
		r.cancel()
		if _, err := fromIdle.ReadByte(); err != io.EOF {
			t.Errorf("idle connection: %v", err)
		}
		close(release)
		if res, err := http.ReadResponse(fromBusy, nil); err != nil || !res.Close {
			t.Errorf("%+v %v", res, err)
		}
		if _, err := fromBusy.ReadByte(); err != io.EOF {
			t.Errorf("connection after the last answer: %v", err)
		}
	})
}

// TestNoRequestIsLostAtTheEnd: a client that is about to ask when the end comes is answered, and told that it was the last time.
func TestNoRequestIsLostAtTheEnd(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o.with(func(c *replicator.Config) { c.DrainTimeout = time.Minute }))
		r.useNow(address(serve(t, func(http.ResponseWriter, *http.Request) {})))
		for _, method := range []string{http.MethodPost, http.MethodHead} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			br, asked := bufio.NewReader(conn), &http.Request{Method: method}
			ask := func() bool {
				fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", method)
				res, err := http.ReadResponse(br, asked)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Fatalf("%s: %v %v", method, res, err)
				}
				return res.Close
			}
			if ask() {
				t.Errorf("%s: closed before the end", method)
			}
			defer func() {
				for !ask() {
				}
				if _, err := br.ReadByte(); err != io.EOF {
					t.Errorf("%s: after the last answer: %v", method, err)
				}
			}()
		}
		r.cancel()
	})
}
