package replay_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/traffic"
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
}

func (l *lags) Sent(_ traffic.Stratum, _ uint64, lag time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, lag)
}

func (*lags) Answered(traffic.Stratum, uint64, time.Duration, bool) {}

// BenchmarkOfferedLoad replays 2,000 requests a second into a real server of this process, and reports how late they are
// sent. An operation is one request; run it with -benchtime 10000x for five seconds.
func BenchmarkOfferedLoad(b *testing.B) {
	server := referencetest.New(b, 1000, 0)
	c := client.New(client.Options{Timeout: 5 * time.Second, MaxIdle: 1000, Now: time.Now})
	defer c.Close()
	seen := &lags{}
	book := metric.NewBook("bench")
	r := replay.New(replay.Options{
		Methods: []string{"GET"}, Amplification: 1, MaxInFlight: 1000, MaxQueued: b.N, Lag: time.Second, MaxLate: time.Hour,
		Instances: target(server.Address), Sender: c, Observer: seen, Captured: book, Extra: metric.NewBook("extra"),
		Wait: pace.Precise, Now: time.Now,
	})
	begin := time.Now()
	for i := range b.N {
		book.See(1)
		r.Offer(referencetest.Request(b, "s", "/", begin.Add(time.Duration(i)*500*time.Microsecond)))
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ResetTimer()
	time.AfterFunc(time.Until(begin.Add(time.Second+time.Duration(b.N)*500*time.Microsecond+100*time.Millisecond)), cancel)
	if err := r.Run(ctx, b.Context()); err != nil {
		b.Fatal(err)
	}
	if l := book.Ledger(); l.Passed != uint64(b.N) {
		b.Fatalf("ledger %+v, want all %d sent", l, b.N)
	}
	slices.Sort(seen.list)
	on := 0
	for on < len(seen.list) && seen.list[on] <= time.Millisecond {
		on++
	}
	b.ReportMetric(float64(seen.list[len(seen.list)/2].Microseconds()), "p50-lag-µs")
	b.ReportMetric(float64(seen.list[len(seen.list)*95/100].Microseconds()), "p95-lag-µs")
	b.ReportMetric(float64(seen.list[len(seen.list)-1].Microseconds()), "max-lag-µs")
	b.ReportMetric(100*float64(on)/float64(len(seen.list)), "%-within-1ms")
}
