package main

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestRatiosAreTakenWithinRounds(t *testing.T) {
	t.Parallel()
	s := samples{}
	for _, noise := range []float64{1, 10, 3} { // the machine is ten times as slow in one round
		s.add("off", noise)
		s.add("on", noise*1.2)
	}
	if got := s.ratio("on", "off").Median; got < 1.19 || got > 1.21 {
		t.Errorf("ratio %v", got)
	}
	if s.ratio("on", "nothing") != (ratio{}) || s.median("nothing") != 0 || s.median("off") != 3 {
		t.Errorf("%v %v %v", s.ratio("on", "nothing"), s.median("nothing"), s.median("off"))
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	if d := document(); len(d) != 1024 || !json.Valid([]byte(d)) {
		t.Errorf("%d bytes: %s", len(d), d)
	}
}

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc": true, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n": true,
		"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n": false, "HTTP/1.1 200 OK\r\n\r\n": false, "x\r\n": false,
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n": false, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc": false,
	} {
		if err := readAnswer(bufio.NewReader(strings.NewReader(text))); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestLoadsCountWhatTheySent sends a known number of requests, in both loops, and looks at what arrives.
func TestLoadsCountWhatTheySent(t *testing.T) {
	t.Parallel()
	arrived := make(chan string, 10_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.Method
		_, _ = w.Write([]byte("x"))
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	if r := openLoop(address, 500, 100*time.Millisecond); r.done != 50 || r.failed != 0 || len(arrived) != 50 || r.quantile(0.5) <= 0 {
		t.Errorf("open loop: %d done, %d failed, %d arrived", r.done, r.failed, len(arrived))
	}
	r := load(address, few, func() bool { return len(arrived) < 100 }, post)
	if r.done < 50 || r.failed != 0 {
		t.Errorf("closed loop: %d done, %d failed", r.done, r.failed)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if r := closedLoop(ln.Addr().String(), time.Second); r.failed != many || r.done != 0 || r.quantile(0.5) != 0 {
		t.Errorf("nobody listens: %+v", r)
	}
}
