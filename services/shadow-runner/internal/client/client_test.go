package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/egress"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/emulate"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func guarded(t *testing.T, timeout time.Duration, allow, deny []string) *client.Client {
	t.Helper()
	parse := func(list []string) (out []netip.AddrPort) {
		for _, a := range list {
			out = append(out, netip.MustParseAddrPort(a))
		}
		return out
	}
	g := &egress.Guard{}
	g.Allow(parse(allow))
	g.Deny(parse(deny))
	c := client.New(client.Options{Control: g.Control, Timeout: timeout, MaxIdle: 10, Now: time.Now})
	t.Cleanup(c.Close)
	return c
}

func TestARedirectToProductionIsNotFollowed(t *testing.T) {
	t.Parallel()
	production := referencetest.New(t, 10, 0)
	var hits atomic.Int64
	shadow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(w, r, "http://"+production.Address+"/", http.StatusFound)
	}))
	t.Cleanup(shadow.Close)
	address := strings.TrimPrefix(shadow.URL, "http://")
	// Production's address is even allowed here: not following is a defence of its own.
	c := guarded(t, time.Second, []string{address, production.Address}, nil)
	out := c.Send(t.Context(), address, referencetest.Request(t, "s", "/", time.Now()))
	if out.Err != nil || out.Status != http.StatusFound || out.Failed() || hits.Load() != 1 || len(production.Seen()) != 0 {
		t.Errorf("got %+v, %d hits, production saw %d", out, hits.Load(), len(production.Seen()))
	}
}

func TestProductionIsNeverDialled(t *testing.T) {
	t.Parallel()
	production := referencetest.New(t, 10, 0)
	c := guarded(t, time.Second, []string{production.Address}, []string{production.Address})
	out := c.Send(t.Context(), production.Address, referencetest.Request(t, "s", "/", time.Now()))
	if !errors.Is(out.Err, egress.ErrRefused) || !out.Failed() || len(production.Seen()) != 0 {
		t.Errorf("got %+v, production saw %d", out, len(production.Seen()))
	}
	// By name too: what counts is the address that is dialled.
	_, port, _ := strings.Cut(production.Address, ":")
	out = c.Send(t.Context(), "localhost:"+port, referencetest.Request(t, "s", "/", time.Now()))
	if !errors.Is(out.Err, egress.ErrRefused) || len(production.Seen()) != 0 {
		t.Errorf("by name: %+v, production saw %d", out, len(production.Seen()))
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-r.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("abc"))
		default:
			w.WriteHeader(status)
			_, _ = w.Write([]byte("hello"))
		}
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	c := guarded(t, 200*time.Millisecond, []string{address}, nil)
	send := func(path string) client.Outcome {
		return c.Send(t.Context(), address, referencetest.Request(t, "s", path, time.Now()))
	}
	for code, failed := range map[int]bool{200: false, 404: false, 500: true, 503: true} {
		status = code
		if out := send("/"); out.Status != code || out.Failed() != failed || out.Bytes != 5 {
			t.Errorf("status %d: %+v", code, out)
		}
	}
	if out := send("/hang"); !errors.Is(out.Err, client.ErrTimeout) && !strings.Contains(out.Err.Error(), "deadline") || !out.Failed() {
		t.Errorf("hang: %+v", out)
	}
	if out := send("/cut"); out.Err == nil || !out.Failed() || out.Bytes != 3 {
		t.Errorf("cut: %+v", out)
	}
}

// session is a captured request of a session.
func session(t *testing.T, key, target string, edit func(*foreshadowv1.CapturedRequest)) *captured.Request {
	t.Helper()
	e := referencetest.Event("shop", key, target, time.Now())
	if edit != nil {
		edit(e)
	}
	r, err := captured.Parse(e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serve runs a handler that speaks HTTP/1.1 and HTTP/2 without TLS, and counts its connections.
func serve(t *testing.T, handle http.HandlerFunc) (address string, opened *atomic.Int64) {
	t.Helper()
	opened = &atomic.Int64{}
	server := httptest.NewUnstartedServer(handle)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), opened
}

func TestRequestsGoByTheirProtocol(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		if r.Header.Get("Te") == "trailers" {
			w.Header().Set("Trailer", "Grpc-Status")
			w.WriteHeader(http.StatusOK)
			w.Header().Set("Grpc-Status", r.Header.Get("X-Outcome"))
			return
		}
		if r.ProtoMajor == 2 {
			w.WriteHeader(http.StatusAccepted)
		}
	})
	two := func(e *foreshadowv1.CapturedRequest) { e.Protocol = "HTTP/2.0" }
	call := func(outcome string) func(*foreshadowv1.CapturedRequest) {
		return func(e *foreshadowv1.CapturedRequest) {
			e.Protocol, e.Method = "HTTP/2.0", http.MethodPost
			e.Headers = []*foreshadowv1.Header{{Name: "Content-Type", Value: "application/grpc+proto"}, {Name: "X-Outcome", Value: outcome}}
		}
	}
	tests := map[string]struct {
		edit   func(*foreshadowv1.CapturedRequest)
		http2  bool
		status int
	}{
		"HTTP/1.1":             {nil, true, 200},
		"HTTP/2":               {two, true, 202},
		"HTTP/2, not wanted":   {two, false, 200},
		"a call":               {call("0"), false, 200},
		"a call, unavailable":  {call("14"), false, 503},
		"a call, not found":    {call("5"), false, 400},
		"a call without a end": {call(""), false, 500},
	}
	for name, tc := range tests {
		c := client.New(client.Options{Timeout: 5 * time.Second, MaxIdle: 10, HTTP2: tc.http2, Now: time.Now})
		if out := c.Send(t.Context(), address, session(t, "s", "/", tc.edit)); out.Err != nil || out.Status != tc.status {
			t.Errorf("%s: %+v, want status %d", name, out, tc.status)
		}
		c.Close()
	}
}

func TestEmulatedSessionsHaveConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	address, opened := serve(t, func(http.ResponseWriter, *http.Request) {})
	profiles := emulate.Profiles{Connections: 2, KeepAlive: time.Minute}
	for name, tc := range map[string]struct {
		profiles *emulate.Profiles
		want     int64
	}{"pooled": {nil, 1}, "emulated": {&profiles, 5}} {
		before := opened.Load()
		c := client.New(client.Options{Timeout: 5 * time.Second, MaxIdle: 10, Profiles: tc.profiles, MaxSessions: 100, Now: time.Now})
		for range 3 {
			for s := range 5 {
				if out := c.Send(t.Context(), address, session(t, fmt.Sprint(s), "/", nil)); out.Err != nil {
					t.Fatal(out.Err)
				}
			}
		}
		if got := opened.Load() - before; got != tc.want {
			t.Errorf("%s: five sessions of three requests opened %d connections, want %d", name, got, tc.want)
		}
		c.Close()
	}
}

// A recorded session logs in, and works in the shadow with what the shadow gave it.
func TestASessionWorksInTheShadow(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: "shadow's"})
			w.Header().Set("X-CSRF-Token", "t1")
			return
		}
		if c, err := r.Cookie("sid"); err != nil || c.Value != "shadow's" || r.Method == http.MethodPost && r.Header.Get("X-CSRF-Token") != "t1" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	c := client.New(client.Options{Timeout: 5 * time.Second, MaxIdle: 10, MaxSessions: 100, Now: time.Now})
	t.Cleanup(c.Close)
	post := func(e *foreshadowv1.CapturedRequest) { e.Method = http.MethodPost }
	for _, step := range []struct {
		session, target string
		edit            func(*foreshadowv1.CapturedRequest)
		want            int
	}{
		{"a", "/cart", nil, 403}, {"a", "/login", nil, 200}, {"a", "/cart", nil, 200}, {"a", "/cart", post, 200}, {"b", "/cart", nil, 403},
	} {
		if out := c.Send(t.Context(), address, session(t, step.session, step.target, step.edit)); out.Status != step.want {
			t.Errorf("%s of session %s: %+v, want %d", step.target, step.session, out, step.want)
		}
	}
}

// What is spoken over TLS is agreed upon: HTTP/2 with who can, HTTP/1.1 with who cannot. A certificate of nobody known is refused.
func TestTLSAgreesOnTheProtocol(t *testing.T) {
	t.Parallel()
	serve := func(two bool) (address string, trust *x509.CertPool) {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Te") == "trailers":
				w.Header().Set("Trailer", "Grpc-Status")
				w.WriteHeader(http.StatusOK)
				w.Header().Set("Grpc-Status", "14")
			case r.TLS == nil:
				w.WriteHeader(http.StatusInternalServerError)
			case r.ProtoMajor == 2:
				w.WriteHeader(http.StatusAccepted)
			}
		}))
		server.EnableHTTP2 = two
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		trust = x509.NewCertPool()
		trust.AddCert(server.Certificate())
		return strings.TrimPrefix(server.URL, "https://"), trust
	}
	both, trustBoth := serve(true)
	one, trustOne := serve(false)
	came := func(e *foreshadowv1.CapturedRequest) { e.Protocol = "HTTP/2.0" }
	call := func(e *foreshadowv1.CapturedRequest) {
		e.Protocol, e.Method = "HTTP/2.0", http.MethodPost
		e.Headers = []*foreshadowv1.Header{{Name: "Content-Type", Value: "application/grpc"}}
	}
	for name, tc := range map[string]struct {
		address string
		trust   *x509.CertPool
		edit    func(*foreshadowv1.CapturedRequest)
		http2   bool
		profile *emulate.Profiles
		status  int
	}{
		"HTTP/2":               {both, trustBoth, came, true, nil, 202},
		"HTTP/2, emulated":     {both, trustBoth, came, true, &emulate.Profiles{Connections: 1, KeepAlive: time.Minute}, 202},
		"HTTP/2, not wanted":   {both, trustBoth, came, false, nil, 200},
		"HTTP/1.1":             {both, trustBoth, nil, true, nil, 200},
		"HTTP/2, not spoken":   {one, trustOne, came, true, nil, 200},
		"a call, unavailable":  {both, trustBoth, call, false, nil, 503},
		"a certificate, whose": {both, x509.NewCertPool(), came, true, nil, 0},
	} {
		c := client.New(client.Options{
			Timeout: 10 * time.Second, MaxIdle: 10, HTTP2: tc.http2, TLS: &tls.Config{RootCAs: tc.trust, MinVersion: tls.VersionTLS12},
			Profiles: tc.profile, MaxSessions: 10, Now: time.Now,
		})
		out := c.Send(t.Context(), tc.address, session(t, "s", "/", tc.edit))
		if out.Status != tc.status || (out.Err != nil) != (tc.status == 0) {
			t.Errorf("%s: %+v, want status %d", name, out, tc.status)
		}
		c.Close()
	}
}
