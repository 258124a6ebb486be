package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/egress"
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
