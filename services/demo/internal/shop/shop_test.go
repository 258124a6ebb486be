package shop_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"net/http/httptest"

	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/services/demo/internal/shop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnInstanceQueuesBeyondItsWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := shop.New(shop.Config{Startup: time.Minute, Workers: 2, ServiceTime: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, idleListener{ctx}) }()
		get := func(path string) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			s.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			return rec
		}
		if got := get("/healthz").Code; got != http.StatusServiceUnavailable {
			t.Errorf("ready at once: %d", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := get("/healthz").Code; got != http.StatusOK {
			t.Errorf("not ready after its start-up time: %d", got)
		}
		latencies := make(chan time.Duration, 6)
		for range 6 {
			go func() {
				start := time.Now()
				get("/some/page")
				latencies <- time.Since(start)
			}()
		}
		var first, last time.Duration
		for i := range 6 {
			last = <-latencies
			if i == 0 {
				first = last
			}
		}
		if last != 3*first || first < 50*time.Millisecond || first > 150*time.Millisecond {
			t.Errorf("six requests on two workers took %v to %v, want the last three times the first", first, last)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// idleListener accepts nothing: the test calls the handler itself, for real sockets would stop the fake clock.
type idleListener struct{ ctx context.Context }

func (l idleListener) Accept() (net.Conn, error) { <-l.ctx.Done(); return nil, net.ErrClosed }
func (idleListener) Close() error                { return nil }
func (idleListener) Addr() net.Addr              { return &net.TCPAddr{} }
