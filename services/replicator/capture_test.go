package replicator_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator"
)

func mirrorMode(c *replicator.Config) {
	c.Capture.Mode = replicator.ModeMirror
	c.KeepBodies = append(c.KeepBodies, "text/plain", "application/octet-stream")
}

func anyMethod(w *workload.Workload) {
	w.Tap.Methods, w.Tap.RedactQuery = []string{"GET", "POST", "PUT"}, nil
}

// seen is what a copy tells of a mirrored request.
type seen struct{ Method, Target, Host, Route, Body string }

func seenOf(copies []*foreshadowv1.CapturedRequest) (out []seen) {
	for _, c := range copies {
		out = append(out, seen{c.GetMethod(), c.GetTarget(), c.GetHost(), c.GetStratum().GetRoute(), string(c.GetBody())})
	}
	return out
}

func TestMirrorAnswersAtOnceAndMakesNothingUp(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: mirrorMode, workload: anyMethod})
	envoy := request(t, http.MethodPost, r.url+"/items/42?a=b", "hello")
	envoy.Host = "shop.example-shadow"
	envoy.Header.Set("Content-Type", "text/plain")
	envoy.Header.Set("X-Forwarded-For", "192.0.2.1")
	if code, body := do(t, r.client, envoy); code != http.StatusOK || body != "" {
		t.Errorf("got %d %q", code, body)
	}
	loop := request(t, http.MethodGet, r.url+"/", "")
	loop.Header.Set("Foreshadow-Shadow", "shop")
	if code, _ := do(t, r.client, loop); code != http.StatusOK {
		t.Errorf("a mirrored shadow request got %d", code)
	}
	cut, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(cut, "POST /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	waitFor(t, "the cut copy to begin", func() bool { return r.ledger("replicator/tap").Seen == 3 })
	_ = cut.Close()
	copies := r.captured()
	if diff := cmp.Diff([]seen{{"POST", "/items/42?a=b", "shop.example", "POST /items/{id}", "hello"}}, seenOf(copies)); diff != "" {
		t.Errorf("copies (-want +got):\n%s", diff)
	}
	if c := copies[0]; c.GetResponseStatus() != 0 || c.GetResponseLatencySeconds() != 0 {
		t.Errorf("made up an answer: %v", c)
	}
	l := r.ledger("replicator/tap")
	if !l.Balanced() || l.Pending != 0 || l.Dropped["loop"] != 1 || l.Dropped["cut"] != 1 {
		t.Errorf("ledger %+v", l)
	}
	_, sum := r.observed()
	for st, c := range sum {
		if st.Route != "loop" && (c.Requests != 1 || c.Responses != 0 || c.Latency.Count() != 0) {
			t.Errorf("%v: %d requests, %d responses, %d latencies", st, c.Requests, c.Responses, c.Latency.Count())
		}
	}
}

// nginxConfig is the snippet of the manual, with what a process in a test needs around it.
const nginxConfig = `
daemon off; master_process off; pid %[1]s/pid; error_log stderr error;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream application { server %[3]s; keepalive 32; }
  upstream foreshadow { server %[4]s; keepalive 32; }
  server {
    listen %[2]s;
    location / {
      mirror /foreshadow;
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
    location = /foreshadow {
      internal;
      proxy_pass http://foreshadow$request_uri;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_connect_timeout 100ms;
      proxy_read_timeout 1s;
    }
  }
}`

func startNginx(t *testing.T, application, sink string) (url string) {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("skipped mirroring by the real nginx: no nginx here (deployments/tools/nginx.sh installs it)")
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, address, application, sink), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-p", dir, "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	waitFor(t, "nginx listens", func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "http://" + address
}

func TestMirrorOfTheRealNginx(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: mirrorMode, workload: anyMethod})
	application := serve(t, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		_, _ = w.Write(body)
	})
	url := startNginx(t, address(application), strings.TrimPrefix(r.url, "http://"))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	body := strings.Repeat(" word", 8_000) // more than nginx holds in memory, and nothing to redact
	var want []seen
	for i := range 20 {
		method, sent := http.MethodGet, ""
		if i%2 == 1 {
			method, sent = http.MethodPost, fmt.Sprint(i, body)
		}
		target := fmt.Sprintf("/items/%d?q=a%%20b", i)
		req := request(t, method, url+target, sent)
		req.Host = "shop.example"
		req.Header.Set("Content-Type", "application/octet-stream") // passes as it is
		if code, got := do(t, client, req); code != 200 || got != sent {
			t.Fatalf("nginx answered %d with %d bytes", code, len(got))
		}
		want = append(want, seen{method, target, "shop.example", method + " /items/{id}", sent})
	}
	waitFor(t, "all copies", func() bool { return r.ledger("replicator/tap").Seen == 20 })
	copies := r.captured()
	byTarget := cmp.Transformer("byTarget", func(list []seen) map[string]seen {
		m := map[string]seen{}
		for _, s := range list {
			m[s.Target] = s
		}
		return m
	})
	if diff := cmp.Diff(want, seenOf(copies), byTarget); diff != "" || len(copies) != 20 {
		t.Errorf("%d copies (-want +got):\n%.2000s", len(copies), diff)
	}
	for _, c := range copies {
		if c.GetSession() != copies[0].GetSession() {
			t.Errorf("one client became several sessions")
		}
	}
}

func TestAccessLogIsAWayIn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	log := `192.0.2.1 - - [27/Nov/2026:12:00:00 +0000] "GET /items/1?q=x HTTP/1.1" 200 12 "-" "Mozilla/5.0 (iPhone)"
192.0.2.1 - - [27/Nov/2026:12:00:00 +0000] "POST /items/1 HTTP/1.1" 200 12 "-" "-"
garbage
192.0.2.1 - - [27/Nov/2026:12:00:00 +0000] "GET /broken HTTP/1.1" 503 12 "-" "-"
`
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, options{config: func(c *replicator.Config) {
		c.Capture.Mode = replicator.ModeAccessLog
		c.Capture.AccessLog.Path, c.Capture.AccessLog.Follow, c.Capture.AccessLog.Speed = path, false, 1000
	}})
	if err := <-r.done; err != nil { // it ends by itself
		t.Fatal(err)
	}
	r.done <- nil
	copies := r.captured()
	slices.SortFunc(copies, func(a, b *foreshadowv1.CapturedRequest) int {
		return int(a.GetResponseStatus() - b.GetResponseStatus())
	})
	if len(copies) != 2 || copies[0].GetStratum().GetDevice() != "mobile" || copies[1].GetResponseStatus() != 503 {
		t.Errorf("copies %v", copies)
	}
	lines, l := r.ledger("replicator/log"), r.ledger("replicator/tap")
	if !lines.Balanced() || lines.Passed != 3 || lines.Dropped["format"] != 1 || l.Seen != 3 || !l.Balanced() || l.Dropped["method"] != 1 {
		t.Errorf("lines %+v, tap %+v", lines, l)
	}
	if _, sum := r.observed(); sum.Total().Errors != 1 || sum.Total().Responses != 3 || sum.Total().Latency.Count() != 0 {
		t.Errorf("observed %+v", sum.Total())
	}
}

func TestCaptureConfigNamesItsKeys(t *testing.T) {
	t.Parallel()
	for mode, wants := range map[replicator.Mode][]string{
		"mirrored":               {`replicator.capture.mode: want proxy, mirror, packet or accesslog, got "mirrored"`},
		replicator.ModeAccessLog: {"replicator.capture.accesslog.path: is missing", "replicator.capture.accesslog.format: has no time"},
		replicator.ModePacket:    {"replicator.capture.packet.interface: give either", "replicator.capture.packet.ports: want 1 to"},
	} {
		cfg := replicator.DefaultConfig()
		cfg.Capture.Mode, cfg.Capture.AccessLog.Format = mode, "$request"
		err := cfg.Validate()
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", mode, err, want)
			}
		}
	}
}
