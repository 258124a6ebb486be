package replay_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/replay"
)

type target string

func (a target) Pick() (platform.Instance, string) { return platform.Instance{Address: string(a)}, "" }

type lags struct {
	mu   sync.Mutex
	list []time.Duration
	last time.Time
}

func (l *lags) Sent(_ traffic.Stratum, _ uint64, lag time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list, l.last = append(l.list, lag), time.Now()
}

func (*lags) Answered(traffic.Stratum, uint64, time.Duration, bool) {}

// null answers every request at once with as little work as can be, so that what is measured is the runner.
func null(b *testing.B) (address string) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				r := bufio.NewReader(conn)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == 2 {
						_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
					}
				}
			})
		}
	})
	b.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

// BenchmarkOfferedLoad replays load into a server of this process that answers at once, for some seconds at each rate, and
// reports how late requests are sent and how many were. It is the generator's own limit. Run it with -benchtime 1x.
func BenchmarkOfferedLoad(b *testing.B) {
	for _, rate := range []int{2_000, 5_000, 10_000, 20_000} {
		b.Run(fmt.Sprintf("%d-per-second", rate), func(b *testing.B) {
			for range b.N {
				offer(b, null(b), rate, 4*time.Second)
			}
		})
	}
}

func offer(b *testing.B, address string, rate int, length time.Duration) {
	b.Helper()
	c := client.New(client.Options{Timeout: 5 * time.Second, MaxIdle: 1000, Now: time.Now})
	defer c.Close()
	seen, book, n := &lags{}, metric.NewBook("bench"), int(float64(rate)*length.Seconds())
	seen.list = make([]time.Duration, 0, n)
	r := replay.New(replay.Options{
		Allow: replay.Allow{Methods: []string{"GET"}}, Amplification: 1, MaxInFlight: 1000, MaxQueued: n, MaxQueuedBytes: 1 << 30, Lag: time.Second, MaxLate: 250 * time.Millisecond,
		Instances: target(address), Sender: c, Observer: seen, Captured: book, Extra: metric.NewBook("extra"),
		Wait: pace.Precise, Now: time.Now,
	})
	requests := make([]*captured.Request, n)
	begin := time.Now().Add(length / 8)
	for i := range requests {
		requests[i] = referencetest.Request(b, "s", "/", begin.Add(time.Duration(i)*time.Second/time.Duration(rate)))
	}
	for _, request := range requests {
		book.See(1)
		r.Offer(request)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ResetTimer()
	time.AfterFunc(time.Until(begin.Add(time.Second+length+500*time.Millisecond)), cancel)
	if err := r.Run(ctx, b.Context()); err != nil {
		b.Fatal(err)
	}
	l := book.Ledger()
	slices.Sort(seen.list)
	on, last := 0, len(seen.list)-1
	for on <= last && seen.list[on] <= time.Millisecond {
		on++
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(l.Passed)/seen.last.Sub(begin.Add(time.Second)).Seconds(), "sent/s")
	b.ReportMetric(100*float64(l.Passed)/float64(l.Seen), "%-sent")
	b.ReportMetric(100*float64(on)/float64(len(seen.list)), "%-within-1ms")
	b.ReportMetric(float64(seen.list[last/2].Microseconds()), "p50-lag-µs")
	b.ReportMetric(float64(seen.list[last*95/100].Microseconds()), "p95-lag-µs")
	b.ReportMetric(float64(seen.list[last].Microseconds()), "max-lag-µs")
}
