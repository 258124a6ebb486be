package wire_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/services/replicator/internal/wire"
)

var verdicts = map[wire.Verdict]string{wire.More: "more", wire.Plain: "plain", wire.Unusual: "unusual"}

func TestReadRequest(t *testing.T) {
	t.Parallel()
	const get, host = "GET / HTTP/1.1\r\n", "Host: x\r\n"
	for text, want := range map[string]string{
		get + host + "\r\n": "plain",
		"OPTIONS /a?b=c HTTP/1.1\r\nHost: [::1]:80\r\n\r\n":           "plain",
		get + host + "Connection: Keep-Alive\r\n\r\n":                 "plain",
		get + host + "Connection: close\r\n\r\n":                      "plain",
		get + host + "X: \xe4\ty\r\n\r\nGET":                          "plain",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc": "plain",
		"POST / HTTP/1.1\r\n" + host + "\r\n":                         "plain",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nab":  "more",
		"":                                                               "more",
		get + host:                                                       "more",
		get + "\r\n":                                                     "unusual", // no host
		get + "Host:\r\n\r\n":                                            "unusual",
		get + host + host + "\r\n":                                       "unusual",
		get + "Host: a/b\r\n\r\n":                                        "unusual",
		"GET / HTTP/1.0\r\n" + host + "\r\n":                             "unusual",
		"GET  / HTTP/1.1\r\n" + host + "\r\n":                            "unusual",
		"GET / HTTP/1.1 \r\n" + host + "\r\n":                            "unusual",
		"GET /a b HTTP/1.1\r\n" + host + "\r\n":                          "unusual",
		"get / HTTP/1.1\r\n" + host + "\r\n":                             "unusual",
		"HEAD / HTTP/1.1\r\n" + host + "\r\n":                            "unusual",
		"CONNECT x:1 HTTP/1.1\r\n" + host + "\r\n":                       "unusual",
		"GET http://x/ HTTP/1.1\r\n" + host + "\r\n":                     "unusual",
		"GET //x/ HTTP/1.1\r\n" + host + "\r\n":                          "unusual",
		"GET /%zz HTTP/1.1\r\n" + host + "\r\n":                          "unusual",
		"GET /#a HTTP/1.1\r\n" + host + "\r\n":                           "unusual",
		"GET /\"a\" HTTP/1.1\r\n" + host + "\r\n":                        "unusual",
		"OPTIONS * HTTP/1.1\r\n" + host + "\r\n":                         "unusual",
		get + host + "Content-Length: 3\r\n\r\nabc":                      "unusual", // a body where none is expected
		get + host + "X: a\r\n b\r\n\r\n":                                "unusual",
		get + host + "X : a\r\n\r\n":                                     "unusual",
		get + host + "X: a\nY: b\r\n\r\n":                                "unusual",
		get + host + "X: a\x00\r\n\r\n":                                  "unusual",
		get + host + ": a\r\n\r\n":                                       "unusual",
		get + host + "X\r\n\r\n":                                         "unusual",
		get + host + "Connection: close, X-Local\r\n\r\n":                "unusual",
		get + host + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n": "unusual",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc": "unusual",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: +3\r\n\r\nabc":                     "unusual",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 9999999999999999\r\n\r\nabc":       "unusual",
		"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n":       "unusual",
		"POST / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n": "unusual",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                                 "unusual",
		"\r\n" + get + host + "\r\n":                                                       "unusual",
	} {
		if got := wire.ReadRequest([]byte(text), &wire.Request{}); verdicts[got] != want {
			t.Errorf("%q is %s, want %s", text, verdicts[got], want)
		}
	}
}

// TestSizesAreKnownBeforeTheBody: whoever reads decides by them whether to go on.
func TestSizesAreKnownBeforeTheBody(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
	var r wire.Request
	if v := wire.ReadRequest([]byte(head), &r); v != wire.More || r.Size() != int64(len(head))+1_000_000 {
		t.Errorf("%s, %d bytes", verdicts[v], r.Size())
	}
	if v := wire.ReadRequest([]byte(head[:20]), &r); v != wire.More || r.Size() != 0 {
		t.Errorf("%s, %d bytes of which nothing can be known", verdicts[v], r.Size())
	}
}

func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	const head = "GET / HTTP/1.1\r\nhOST: x\r\nx-a:  1 \r\n"
	const old = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.2\r\nForwarded: for=y\r\nConnection: close\r\n"
	for _, c := range []struct {
		trust    bool
		in, want string
	}{
		{true, head, head + "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Host: x\r\nX-Forwarded-Proto: http\r\n"},
		{false, head + old, head + "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Host: x\r\nX-Forwarded-Proto: http\r\n"},
		{true, head + old, head + "X-Forwarded-Proto: https\r\nForwarded: for=y\r\nX-Forwarded-For: 192.0.2.1, 192.0.2.2, 192.0.2.9\r\nX-Forwarded-Host: x\r\n"},
	} {
		var r wire.Request
		if v := wire.ReadRequest([]byte(c.in+"\r\n"), &r); v != wire.Plain {
			t.Fatalf("%q is %s", c.in, verdicts[v])
		}
		got := string(r.Append(nil, wire.Forward{Client: "192.0.2.9", Trust: c.trust}))
		if diff := cmp.Diff(c.want+"\r\n", got); diff != "" {
			t.Errorf("trust %v (-want +got):\n%s", c.trust, diff)
		}
	}
}

func TestReadResponse(t *testing.T) {
	t.Parallel()
	const ok, date, length = "HTTP/1.1 200 OK\r\n", "Date: Fri, 27 Nov 2026 16:00:00 GMT\r\n", "Content-Length: 3\r\n"
	for text, want := range map[string]string{
		ok + date + length + "\r\nabc":                                    "plain",
		ok + date + length + "\r\n":                                       "plain", // the body may come later
		ok + date + length + "Connection: keep-alive\r\n\r\n":             "plain",
		"HTTP/1.1 503 \r\n" + date + length + "\r\nabc":                   "plain",
		ok + date + length:                                                "more",
		ok + length + "\r\nabc":                                           "unusual", // no date
		ok + date + "\r\nabc":                                             "unusual", // as long as the connection
		ok + date + length + length + "\r\nabc":                           "unusual",
		ok + date + length + "Connection: close\r\n\r\nabc":               "unusual",
		ok + date + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n":         "unusual",
		ok + date + length + "Content-Type: text/event-stream\r\n\r\nabc": "unusual",
		ok + date + length + "X: a\r\n b\r\n\r\nabc":                      "unusual",
		"HTTP/1.1 204 No Content\r\n" + date + length + "\r\n":            "unusual",
		"HTTP/1.1 304 Not Modified\r\n" + date + length + "\r\n":          "unusual",
		"HTTP/1.1 103 Early Hints\r\n" + date + length + "\r\n":           "unusual",
		"HTTP/1.1 20x OK\r\n" + date + length + "\r\n":                    "unusual",
		"HTTP/1.0 200 OK\r\n" + date + length + "\r\n":                    "unusual",
		"\r\n\r\n": "unusual",
	} {
		var r wire.Response
		got := wire.ReadResponse([]byte(text), &r)
		if verdicts[got] != want {
			t.Errorf("%q is %s, want %s", text, verdicts[got], want)
		}
		if got == wire.Plain && r.Body != 3 {
			t.Errorf("%q: a body of %d", text, r.Body)
		}
	}
	var r wire.Response
	wire.ReadResponse([]byte("HTTP/1.1 404 Gone fishing\r\nconnection: keep-alive\r\nx-a:1\r\n"+date+length+"\r\nabc"), &r)
	if got := string(r.Append(nil, true)); r.Status != 404 || got != "HTTP/1.1 404 Gone fishing\r\nx-a:1\r\n"+date+length+"Connection: close\r\n\r\n" {
		t.Errorf("%d %q", r.Status, got)
	}
}

// FuzzReadRequest holds what is plain against net/http: it must read the same request, leave the same rest, and an instance
// must read the same from what is sent on.
func FuzzReadRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET", "POST /a%2Fb?c=%zz&d HTTP/1.1\r\nHost: x:1\r\nContent-Length: 3\r\nX: y\r\nx: z\r\n\r\nabcd",
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: a\r\n\r\n", "PUT /;a=b HTTP/1.1\r\nHost: x\r\nX:\xff \t\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r wire.Request
		if wire.ReadRequest(in, &r) != wire.Plain {
			return
		}
		want, body, rest := readAsNetHTTP(t, in)
		if r.Method != want.Method || r.Target != want.RequestURI || r.URL.String() != want.URL.String() || r.Host != want.Host || r.Closes != want.Close {
			t.Errorf("%+v, net/http reads %+v", r, want)
		}
		if got := in[r.Head:r.Size()]; string(got) != string(body) || string(in[r.Size():]) != string(rest) {
			t.Errorf("body %q, rest %q, net/http reads %q and %q", got, in[r.Size():], body, rest)
		}
		header := http.Header{}
		for _, field := range r.Fields {
			if field.Name != "Host" {
				header[field.Name] = append(header[field.Name], field.Value)
			}
		}
		if diff := cmp.Diff(want.Header, header); diff != "" {
			t.Errorf("(-net/http +got):\n%s", diff)
		}
		sent := append(r.Append(nil, wire.Forward{Client: "192.0.2.9", Trust: true}), in[r.Head:r.Size()]...)
		behind, body2, rest := readAsNetHTTP(t, sent)
		if behind.Method != want.Method || behind.RequestURI != want.RequestURI || behind.Host != want.Host || string(body2) != string(body) || len(rest) > 0 {
			t.Errorf("an instance reads %+v %q and then %q, net/http %+v", behind, body2, rest, want)
		}
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Connection"} {
			behind.Header.Del(name)
			want.Header.Del(name)
		}
		if diff := cmp.Diff(want.Header, behind.Header); diff != "" {
			t.Errorf("an instance gets other headers (-net/http +instance):\n%s", diff)
		}
	})
}

func readAsNetHTTP(t *testing.T, in []byte) (r *http.Request, body, rest []byte) {
	t.Helper()
	br := bufio.NewReader(bytes.NewReader(in))
	r, err := http.ReadRequest(br)
	if err != nil {
		t.Fatalf("%q is plain, and net/http says %v", in, err)
	}
	if body, err = io.ReadAll(r.Body); err != nil {
		t.Fatalf("%q is plain, and net/http says of the body %v", in, err)
	}
	rest, _ = io.ReadAll(br)
	if len(r.TransferEncoding) > 0 {
		t.Errorf("%q has a transfer coding", in)
	}
	return r, body, rest
}

// FuzzReadResponse does the same for answers.
func FuzzReadResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\nX:y\r\nx: z\r\n\r\nabcd", "HTTP/1.1 500 \r\nDate:\r\nContent-Length:0\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r wire.Response
		if wire.ReadResponse(in, &r) != wire.Plain {
			return
		}
		sent := append(r.Append(nil, false), in[r.Head:]...)
		for _, bytes := range []string{string(in), string(sent)} {
			want, err := http.ReadResponse(bufio.NewReader(strings.NewReader(bytes)), nil)
			if err != nil {
				t.Fatalf("%q is plain, and net/http says %v", bytes, err)
			}
			if want.StatusCode != r.Status || want.ContentLength != r.Body || len(want.TransferEncoding) > 0 || want.Close {
				t.Errorf("%+v, net/http reads %+v", r, want)
			}
		}
	})
}
