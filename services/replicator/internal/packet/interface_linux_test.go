package packet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// hurry is how fast clients send: how many at a time, and whether each waits until its last request was captured.
type hurry struct {
	clients int
	waits   bool
}

// TestLoopbackCapture listens at the real loopback while real clients talk to a real server. Where the machine is so busy that
// the kernel drops packets, which the ledger must say, they talk slower.
func TestLoopbackCapture(t *testing.T) {
	t.Parallel()
	for _, h := range []hurry{{clients: 4}, {clients: 1}, {clients: 1, waits: true}} {
		dropped := captureLoopback(t, h)
		if dropped == 0 {
			return
		}
		t.Logf("the kernel dropped %d packets of %+v", dropped, h)
	}
	t.Error("packets are dropped though no more than one request is under way")
}

// captureLoopback returns how many packets the kernel dropped. When there are none, everything must have been captured.
func captureLoopback(t *testing.T, h hurry) (dropped uint64) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprint(w, n)
	}))
	defer server.Close()
	r := newRig(t, func(c *Config) {
		c.File, c.Interface, c.Speed = "", "lo", 1
		c.Ports = []int{server.Listener.Addr().(*net.TCPAddr).Port}
	})
	begun := make(chan struct{})
	r.source.report = func(string) { close(begun) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.source.Run(ctx) }()
	select {
	case <-begun:
	case err := <-done:
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
			t.Skipf("skipped live capture: no right to open raw sockets here (CAP_NET_RAW): %v", err)
		}
		t.Fatal(err)
	}
	const requests = 100                                         // each a GET and a POST
	body := strings.Repeat("plain words only ", 8<<10)[:128<<10] // 128 KiB
	deadline := time.Now().Add(30 * time.Second)
	// captured waits for so many; it does not go on when packets of them were lost.
	captured := func(n uint64) bool {
		for r.tap.Ledger().Passed < n {
			if dropped = r.source.Packets().Dropped[ReasonKernel]; dropped > 0 {
				return false
			}
			if time.Now().After(deadline) {
				t.Errorf("captured %+v, packets %+v, connections %+v", r.tap.Ledger(), r.source.Packets(), r.source.Connections())
				return false
			}
			time.Sleep(5 * time.Millisecond)
		}
		return true
	}
	if h.waits {
		talkTo(t, server.URL, body, requests, func(sent int) bool { return captured(uint64(sent)) })
	} else {
		var wg sync.WaitGroup
		for client := range h.clients {
			wg.Go(func() {
				talkTo(t, fmt.Sprint(server.URL, "/", client), body, requests/h.clients, func(int) bool { return true })
			})
		}
		wg.Wait()
	}
	captured(2 * requests)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	p := r.source.Packets()
	if dropped = p.Dropped[ReasonKernel]; !p.Balanced() || p.Pending != 0 || !r.tap.Ledger().Balanced() {
		t.Errorf("packets %+v, tap %+v", p, r.tap.Ledger())
	}
	if dropped == 0 {
		checkLoopback(t, r.list, body, 2*requests)
	}
	return dropped
}

// talkTo sends pairs of a GET and a POST over one connection, as long as next, which is told how many were sent, says so.
func talkTo(t *testing.T, base, body string, pairs int, next func(sent int) bool) {
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	for i := range 2 * pairs {
		method, upload := http.MethodGet, io.Reader(http.NoBody)
		if i%2 == 1 {
			method, upload = http.MethodPost, strings.NewReader(body)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprint(base, "/", i/2), upload)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		resp, err := c.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if !next(i + 1) {
			return
		}
	}
}

// checkLoopback looks at the copies of all requests.
func checkLoopback(t *testing.T, list []*foreshadowv1.CapturedRequest, body string, want int) {
	t.Helper()
	seen := map[string]int{}
	for _, c := range list {
		seen[c.GetMethod()+c.GetTarget()]++
		if c.GetMethod() == http.MethodPost && string(c.GetBody()) != body {
			t.Errorf("a body of %d bytes", len(c.GetBody()))
		}
		if c.GetResponseStatus() != http.StatusAccepted || c.GetResponseLatencySeconds() <= 0 {
			t.Errorf("answered %d after %v s", c.GetResponseStatus(), c.GetResponseLatencySeconds())
		}
	}
	if len(seen) != want || len(list) != len(seen) {
		t.Errorf("%d requests in %d copies, want %d", len(seen), len(list), want)
	}
}

// TestFilter runs the kernel's program over packets that are, and are not, of a port that is listened to.
func TestFilter(t *testing.T) {
	t.Parallel()
	for _, vxlan := range []bool{false, true} {
		raw, err := filter([]int{80, 8080}, vxlan, false)
		if err != nil {
			t.Fatal(err)
		}
		program, all := bpf.Disassemble(raw)
		if !all {
			t.Fatal("not all instructions are known")
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		passes := func(p []byte) bool {
			n, err := vm.Run(p)
			if err != nil {
				t.Fatal(err)
			}
			return n > 0
		}
		for _, six := range []bool{false, true} {
			w := newWire()
			w.six = six
			w.dial(40000)
			w.vxlan = true
			w.dial(40000)
			for i, p := range w.packets {
				if want := i < 3 || vxlan; passes(p) != want {
					t.Errorf("vxlan %v, IPv6 %v, packet %d: passes %v", vxlan, six, i, !want)
				}
			}
			other := bytes.Replace(w.packets[0], []byte{0, 80}, []byte{0, 81}, 1)
			if passes(other) {
				t.Errorf("IPv6 %v: another port passes", six)
			}
		}
		if passes(make([]byte, 60)) {
			t.Error("something else passes")
		}
	}
	if _, err := filter([]int{80}, true, true); err != nil {
		t.Error(err)
	}
}
