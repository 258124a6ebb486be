//go:build unix

package replicator_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// BenchmarkProxy compares one keep-alive GET of 1 KiB, at two connections per processor, straight to the instance, through
// net/http's own ReverseProxy, and through the replicator with the tap off (it counts, and copies nothing), at one session
// in ten, and copying all. Client, proxy, instance and broker share this process: cpu-us/op is what all of them used, so
// differences between the rows are what the proxy, the tap, and with copies the publisher and the broker cost.
func BenchmarkProxy(b *testing.B) {
	instance := serve(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1024)) })
	b.Run("direct", func(b *testing.B) { load(b, instance.URL) })
	b.Run("reverse_proxy", func(b *testing.B) {
		target, err := url.Parse(instance.URL)
		if err != nil {
			b.Fatal(err)
		}
		transport := &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}
		plain := httptest.NewServer(&httputil.ReverseProxy{
			Transport: transport, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target); p.SetXForwarded() },
		})
		load(b, plain.URL)
		plain.Close()
		transport.CloseIdleConnections()
	})
	for _, tap := range []struct {
		name  string
		ratio float64
	}{{"tap_off", 0}, {"tap_10_percent", 0.1}, {"tap_all", 1}} {
		b.Run(tap.name, func(b *testing.B) {
			r := start(b, options{workload: func(w *workload.Workload) { w.Tap.SampleRatio = tap.ratio }})
			r.use(instance)
			waitForInstance(b, r)
			load(b, r.url)
			r.stop()
			if l := r.ledger("replicator/tap"); !l.Balanced() || l.Pending != 0 {
				b.Errorf("ledger %+v", l)
			}
		})
	}
}

func waitForInstance(b *testing.B, r *rig) {
	b.Helper()
	if code, _ := do(b, r.client, request(b, http.MethodGet, r.url, "")); code != http.StatusOK {
		b.Fatalf("got %d", code)
	}
}

func load(b *testing.B, base string) {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}}
	defer client.CloseIdleConnections()
	b.SetParallelism(2)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		session := url.QueryEscape(b.Name())
		for i := 0; pb.Next(); i++ {
			req, err := http.NewRequest(http.MethodGet, base+"/items/42?q=blue", nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36")
			req.Header.Set("Cookie", "sid="+session+strings.Repeat("x", i%100))
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, resp.Body)
			if _ = resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
				b.Errorf("got %d, %v", resp.StatusCode, err)
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}

// cpuTime is what this process has used; other load on the machine changes it less than it changes the wall clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
