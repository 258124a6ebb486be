package gateway

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// serve has a handler behind the guards of the API; a body may take 50 ms to come.
func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	g := &gateway{Config: Config{ReadTimeout: 50 * time.Millisecond, WriteTimeout: time.Minute}, origin: http.NewCrossOriginProtection()}
	server := httptest.NewServer(g.api(handle))
	t.Cleanup(server.Close)
	return server
}

func TestAWatchLastsLongerThanABodyMayTake(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond):
			_, _ = io.WriteString(w, "news")
		}
	})
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if got, err := io.ReadAll(resp.Body); string(got) != "news" || err != nil {
		t.Errorf("the watch said %q, %v", got, err)
	}
}

func TestABodyThatTricklesInEnds(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	body, trickle := io.Pipe()
	go func() {
		_, _ = io.WriteString(trickle, "{")
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the body ended with %v", err)
		}
		_ = trickle.Close()
	}()
	resp, err := server.Client().Post(server.URL, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}
