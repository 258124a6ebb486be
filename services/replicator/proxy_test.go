package replicator_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator"
)

func TestInstanceGetsWhatTheClientSent(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	r := start(t, options{})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		got <- req
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Add("X-Twice", "a")
		w.Header().Add("X-Twice", "b")
		w.Header().Set("Content-Encoding", "gzip") // it is not, and nobody may look
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "raw")
	}))
	req := request(t, http.MethodGet, r.url+"/a%2Fb//c/../d?x=1;y=2&&z=%zz", "")
	req.Host = "shop.example"
	req.Header = http.Header{
		"Connection": {"close, X-Local"}, "X-Local": {"1"}, "X-Custom": {"1", "2"}, "Accept-Encoding": {"br"}, "User-Agent": {""},
		"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"https"}, "Keep-Alive": {"1"},
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || string(body) != "raw" || resp.StatusCode != http.StatusTeapot {
		t.Errorf("got %d %q %v", resp.StatusCode, body, err)
	}
	if resp.Header.Get("X-Hop") != "" || len(resp.Header["X-Twice"]) != 2 {
		t.Errorf("answer's headers: %v", resp.Header)
	}
	in := <-got
	if in.RequestURI != "/a%2Fb//c/../d?x=1;y=2&&z=%zz" || in.Host != "shop.example" {
		t.Errorf("instance got %s of %s", in.RequestURI, in.Host)
	}
	want := http.Header{
		"X-Custom": {"1", "2"}, "Accept-Encoding": {"br"}, "X-Forwarded-For": {"192.0.2.7, 127.0.0.1"},
		"X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Proto": {"https"},
	}
	if diff := cmp.Diff(want, in.Header); diff != "" {
		t.Errorf("instance's headers (-want +got):\n%s", diff)
	}
}

// TestTargetsArriveAsTheyCame: no byte of a target is escaped, or not any more, for an instance that may tell the difference.
func TestTargetsArriveAsTheyCame(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		instance := startRaw(t)
		r.platform.set(ready("raw", instance.Addr().String()))
		ask := func(target string) string {
			say(t, strings.TrimPrefix(r.url, "http://"), "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")
			line, _, _ := strings.Cut(instance.heads(), "\r\n")
			return line
		}
		for _, target := range []string{
			"/%2e%2E/a/../b", "/a//b%2F", "/a|b", `/a"<b>\^`, "/{a}[b]`", "/\xc3\xa9", "/\xff", "/a#b", "/a?", "/a|b?%zz{}|&x", "//a", "/a%00b", "/a%7cb|%7C",
		} {
			if got, want := ask(target), "GET "+target+" HTTP/1.1"; got != want {
				t.Errorf("an instance got %q, want %q", got, want)
			}
		}
		protocols := &http.Protocols{}
		protocols.SetUnencryptedHTTP2(true)
		r.client.Transport.(*http.Transport).Protocols = protocols
		req := request(t, http.MethodGet, r.url, "")
		req.URL.Opaque = "/a| HTTP/1.1?b HTTP/1.1" // HTTP/2 may say so
		if code, _ := do(t, r.client, req); code != http.StatusOK {
			t.Errorf("got %d", code)
		}
		if got, _, _ := strings.Cut(instance.heads(), "\r\n"); got != "GET /a%7C%20HTTP/1.1?b%20HTTP/1.1 HTTP/1.1" {
			t.Errorf("an instance got %q", got)
		}
		r.stop() // first, for instances wait for their connections
	})
}

// TestAnswerIsNotHeldBack: what an instance has said of an answer of known length reaches the client while the rest is to come.
func TestAnswerIsNotHeldBack(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o)
		r.client.Timeout = 30 * time.Second
		heard := make(chan struct{})
		defer close(heard)
		r.use(serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4")
			for range 2 {
				_ = http.NewResponseController(w).Flush()
				<-heard
				_, _ = io.WriteString(w, "ab")
			}
		}))
		resp, err := r.client.Do(request(t, http.MethodGet, r.url, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		buf := make([]byte, 2)
		for range 2 {
			heard <- struct{}{}
			if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "ab" {
				t.Errorf("%q %v", buf, err)
			}
		}
	})
}

func TestForwardedHeadersOfStrangersAreDropped(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: func(c *replicator.Config) { c.TrustForwarded = false }})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = fmt.Fprint(w, req.Header.Get("X-Forwarded-For"), " ", req.Header.Get("X-Forwarded-Proto"))
	}))
	req := request(t, http.MethodGet, r.url, "")
	req.Header.Set("X-Forwarded-For", "192.0.2.7")
	req.Header.Set("X-Forwarded-Proto", "https")
	if _, body := do(t, r.client, req); body != "127.0.0.1 http" {
		t.Errorf("instance saw %q", body)
	}
}

func TestTrailersBothWays(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", req.Trailer.Get("X-In"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}))
	req := request(t, http.MethodPost, r.url, "")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader("abc")), -1
	req.Trailer = http.Header{"X-In": {"in"}}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.Trailer.Get("X-Sum") != "in" || resp.Trailer.Get("X-Late") != "late" {
		t.Errorf("trailers %v", resp.Trailer)
	}
}

// TestStreamsBothWays sends each chunk only after the one before came back: nothing may be held until the end.
func TestStreamsBothWays(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		r := start(t, options{})
		r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
			rc := http.NewResponseController(w)
			if err := rc.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			_ = rc.Flush()
			buf := make([]byte, 64)
			for {
				n, err := req.Body.Read(buf)
				_, _ = w.Write(bytes.ToUpper(buf[:n]))
				_ = rc.Flush()
				if err != nil {
					return
				}
			}
		}))
		if protocol == "HTTP/2.0" {
			r.client.Transport.(*http.Transport).Protocols = &http.Protocols{}
			r.client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
		}
		pr, pw := io.Pipe()
		req := request(t, http.MethodPost, r.url, "")
		req.Body, req.ContentLength = pr, -1
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		if resp.Proto != protocol {
			t.Errorf("got %s, want %s", resp.Proto, protocol)
		}
		buf := make([]byte, 4)
		for i := range 3 {
			if _, err := fmt.Fprintf(pw, "abc%d", i); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != fmt.Sprintf("ABC%d", i) {
				t.Fatalf("%s chunk %d: %q %v", protocol, i, buf, err)
			}
		}
		_ = pw.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("%s: rest %q %v", protocol, rest, err)
		}
		_ = resp.Body.Close()
	}
}

func TestUpgradeEchoes(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Upgrade") != "echo" || req.Header.Get("Connection") != "Upgrade" {
			t.Errorf("instance got %v", req.Header)
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	buf := make([]byte, 5)
	for range 2 {
		_, _ = io.WriteString(conn, "hello")
		if _, err := io.ReadFull(br, buf); err != nil || string(buf) != "hello" {
			t.Fatalf("%q %v", buf, err)
		}
	}
	// The end of the replicator ends the connection; nothing else would.
	_, sum := r.observed()
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("connection not closed: %v", err)
	}
	total := sum.Total()
	if total.Responses != 1 || total.Errors != 0 || total.SLOViolations != 0 || total.ResponseBytes < 10 {
		t.Errorf("observed %+v", total)
	}
	if l := r.ledger("replicator/tap"); l.Dropped["upgrade"] != 1 || !l.Balanced() {
		t.Errorf("ledger %+v", l)
	}
}

func TestExpectContinueReachesTheInstance(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		if req.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		_, _ = io.Copy(w, req.Body)
	}))
	r.client.Transport.(*http.Transport).ExpectContinueTimeout = time.Hour
	for path, want := range map[string]string{"/take": "200 body continued hinted", "/refuse": "417  refused hinted"} {
		continued, hinted := "refused", "silent"
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got100Continue: func() { continued = "continued" },
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints && h.Get("Link") != "" {
					hinted = "hinted"
				}
				return nil
			},
		})
		req := request(t, http.MethodPost, r.url+path, "body").WithContext(ctx)
		req.Header.Set("Expect", "100-continue")
		code, body := do(t, r.client, req)
		if got := fmt.Sprintf("%d %s %s %s", code, body, continued, hinted); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestLargeBodyPassesUnchanged(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	r := start(t, options{workload: func(w *workload.Workload) { w.Tap.Methods = []string{"POST"} }})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, req.Body)
		_, _ = fmt.Fprintf(w, "%d %v %x", n, err, h.Sum(nil))
	}))
	body := func() io.Reader {
		return io.LimitReader(bytes.NewReader(bytes.Repeat([]byte("0123456789abcdef"), size/16)), size)
	}
	h := sha256.New()
	_, _ = io.Copy(h, body())
	req := request(t, http.MethodPost, r.url, "")
	req.Body, req.ContentLength = io.NopCloser(body()), size
	if _, got := do(t, r.client, req); got != fmt.Sprintf("%d <nil> %x", size, h.Sum(nil)) {
		t.Errorf("instance read %s", got)
	}
	if copies := r.captured(); len(copies) != 1 || copies[0].GetBodySizeBytes() != size || len(copies[0].GetBody()) > 0 {
		t.Errorf("%d copies", len(copies))
	}
}

// TestMetricNames: names are what dashboards and alerts are written against.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	var got []string
	for line := range strings.Lines(r.metrics()) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok && (strings.HasPrefix(name, "foreshadow_replicator") || strings.HasPrefix(name, "foreshadow_ledger")) {
			got = append(got, strings.TrimSpace(name))
		}
	}
	want := []string{
		"foreshadow_ledger_items_total untyped", "foreshadow_replicator_errors_total counter",
		"foreshadow_replicator_in_flight_requests gauge", "foreshadow_replicator_ready_instances gauge",
		"foreshadow_replicator_request_duration_seconds histogram", "foreshadow_replicator_requests_total counter",
		"foreshadow_replicator_retries_total counter",
		"foreshadow_replicator_sample_design_effect_ratio gauge", "foreshadow_replicator_sample_mix_half_width_ratio gauge",
		"foreshadow_replicator_sample_p95_half_width_ratio gauge", "foreshadow_replicator_sample_share_ratio gauge",
		"foreshadow_replicator_stratum_overflow_requests_total counter",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
