package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRealPrometheus reads what a real server was filled with: two days of two series, an hour of which is missing, asked for
// with a month that it never saw.
func TestRealPrometheus(t *testing.T) {
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("skipped a real Prometheus: no %s in PATH; Debian's package prometheus has it", program)
		}
	}
	now := time.Now().UTC().Truncate(time.Hour)
	start, gap := now.Add(-48*time.Hour), now.Add(-24*time.Hour)
	address := serve(t, filled(t, start, now, gap))
	p := Prometheus{
		URL: address, Query: "sum(rate(http_requests_total[2m]))", Start: now.Add(-30 * 24 * time.Hour), End: now, Step: time.Minute,
	}
	got, err := p.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Values); got.Start.Before(start) || got.Start.After(start.Add(3*time.Minute)) || n < 47*60 || n > 48*60 {
		t.Errorf("%d points from %s, want those of two days from %s", n, got.Start, start)
	}
	missing := 0
	for i, v := range got.Values {
		if math.IsNaN(v) {
			missing++
			continue
		}
		// Half of the requests came with each code; the rate is that of the hour, and is mixed where hours meet.
		at := got.Time(i)
		if want := rate(at); at.Minute() > 3 && math.Abs(v-want) > 1e-6*want {
			t.Fatalf("%s: %g requests/s, want %g", at, v, want)
		}
	}
	if missing < 55 || missing > 60 {
		t.Errorf("%d points are missing, want the hour after %s", missing, gap)
	}

	for query, want := range map[string]string{
		"rate(http_requests_total[2m])":     "query yields 2 series, want one: sum() them",
		"sum(rate(http_requests_total[2m])": "bad_data: 1:34: parse error: unclosed left parenthesis",
		"http_requests_total[2m]":           "must be Scalar or instant Vector",
		"sum(rate(no_such_total[2m]))":      "yields nothing between",
	} {
		p.Query = query
		if _, err := p.Read(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one about %q", query, err, want)
		}
	}
}

// rate is what the server is filled with.
func rate(at time.Time) float64 { return 100 + 10*float64(at.UTC().Hour()) }

// filled makes the folder of a server that scraped two counters every 30 s, but not in the hour after gap.
func filled(t *testing.T, from, to, gap time.Time) string {
	t.Helper()
	var lines [2]strings.Builder
	total := 0.0
	for at := from; at.Before(to); at = at.Add(30 * time.Second) {
		total += 30 * rate(at)
		if !at.Before(gap) && at.Before(gap.Add(time.Hour)) {
			continue
		}
		for i, code := range []int{200, 404} {
			fmt.Fprintf(&lines[i], "http_requests_total{code=\"%d\"} %g %d\n", code, total/2, at.Unix()+30)
		}
	}
	dir := t.TempDir()
	text := filepath.Join(dir, "metrics.txt")
	body := "# TYPE http_requests counter\n" + lines[0].String() + lines[1].String() + "# EOF\n"
	if err := os.WriteFile(text, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", text, data).CombinedOutput(); err != nil {
		t.Fatalf("fill Prometheus: %v\n%s", err, out)
	}
	return data
}

// serve runs a server on a folder until the test ends.
func serve(t *testing.T, data string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := ln.Addr().String()
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln.Close()
	var log bytes.Buffer
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+data, "--storage.tsdb.retention.time=90d", "--web.listen-address="+listen)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is told to end
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	deadline := time.After(time.Minute)
	for {
		if resp, err := client.Get("http://" + listen + "/-/ready"); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return "http://" + listen
			}
		}
		select {
		case <-ended:
			t.Fatalf("Prometheus ended:\n%s", log.String())
		case <-deadline:
			t.Fatal("Prometheus is not ready after a minute")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
