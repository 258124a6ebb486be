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
)

// TestLoopbackCapture listens at the real loopback while real clients talk to a real server.
func TestLoopbackCapture(t *testing.T) {
	t.Parallel()
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

	const clients, each = 4, 25
	body := strings.Repeat("plain words only ", 8<<10)[:128<<10] // 128 KiB
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for i := range each {
				url := fmt.Sprintf("%s/%d/%d", server.URL, client, i)
				resp, err := c.Get(url)
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					resp, err = c.Post(url, "application/octet-stream", strings.NewReader(body))
				}
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	deadline := time.After(30 * time.Second)
	for r.tap.Ledger().Passed < 2*clients*each {
		if n := r.source.Packets().Dropped[ReasonKernel]; n > 0 {
			cancel()
			if err := <-done; err != nil || !r.source.Packets().Balanced() || !r.tap.Ledger().Balanced() {
				t.Fatalf("%v, packets %+v, tap %+v", err, r.source.Packets(), r.tap.Ledger())
			}
			t.Skipf("skipped the rest: this machine is so busy that the kernel dropped %d packets, as the ledger says", n)
		}
		select {
		case <-deadline:
			t.Fatalf("captured %+v, packets %+v, connections %+v", r.tap.Ledger(), r.source.Packets(), r.source.Connections())
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, c := range r.list {
		seen[c.GetMethod()+c.GetTarget()]++
		if c.GetMethod() == http.MethodPost && string(c.GetBody()) != body {
			t.Errorf("a body of %d bytes", len(c.GetBody()))
		}
		if c.GetResponseStatus() != http.StatusAccepted || c.GetResponseLatencySeconds() <= 0 {
			t.Errorf("answered %d after %v s", c.GetResponseStatus(), c.GetResponseLatencySeconds())
		}
	}
	p := r.source.Packets()
	if len(seen) != 2*clients*each || len(r.list) != len(seen) || !p.Balanced() || p.Pending != 0 || p.Dropped[ReasonKernel] != 0 {
		t.Errorf("%d requests in %d copies, packets %+v", len(seen), len(r.list), p)
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
