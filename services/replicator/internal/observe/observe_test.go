package observe_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
)

var item = traffic.Stratum{Route: "GET /items/{id}"}

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func TestArrivalAndCompletionCountInTheirOwnSecond(t *testing.T) {
	t.Parallel()
	c := &clock{time.Unix(100, 900e6)}
	a := observe.NewAccumulator(c.now)
	a.Arrive(item)
	a.Arrive(item)
	c.at = time.Unix(102, 100e6)
	a.Complete(item, observe.Completion{Failed: true, SLOViolated: true, Sampled: true, RequestBytes: 3, ResponseBytes: 4, Latency: time.Second})
	c.at = time.Unix(103, 0)

	type row struct {
		Start, Requests, Responses, Failed int64
		MaxInFlight                        int
	}
	rows := func(seconds []observe.Second) (out []row) {
		for _, s := range seconds {
			n := s.Strata.Total()
			out = append(out, row{s.Start.Unix(), int64(n.Requests), int64(n.Responses), int64(n.Errors), s.MaxInFlight})
		}
		return out
	}
	if diff := cmp.Diff([]row{{100, 2, 0, 0, 2}, {101, 0, 0, 0, 2}, {102, 0, 1, 1, 2}}, rows(a.Take())); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if again := a.Take(); len(again) != 0 {
		t.Errorf("taken twice: %v", rows(again))
	}
	a.Complete(item, observe.Completion{})
	if diff := cmp.Diff([]row{{103, 0, 1, 0, 1}}, rows(a.TakeAll())); diff != "" {
		t.Errorf("the rest (-want +got):\n%s", diff)
	}
}

func TestTimeThatNobodyWatchedIsNotZeroLoad(t *testing.T) {
	t.Parallel()
	c := &clock{time.Unix(100, 0)}
	a := observe.NewAccumulator(c.now)
	c.at = time.Unix(160, 0) // the process was stopped
	if got := a.Take(); len(got) != 1 || got[0].Start.Unix() != 100 {
		t.Errorf("vouched for %d seconds", len(got))
	}
	a.Arrive(item)
	c.at = time.Unix(150, 0) // the clock was set back
	a.Arrive(item)
	got := a.TakeAll()
	sum := metric.Strata{}
	for _, s := range got {
		sum.Merge(s.Strata)
	}
	if len(got) != 2 || got[0].Start.Unix() != 160 || got[1].Start.Unix() != 150 || sum.Total().Requests != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestNothingIsLostOrTwiceWhileBeingTaken(t *testing.T) {
	t.Parallel()
	a := observe.NewAccumulator(func() time.Time {
		return time.Unix(0, time.Now().UnixNano()*10000) // a second each 100 microseconds
	})
	sum, done := metric.Strata{}, make(chan struct{})
	var takers, counters sync.WaitGroup
	takers.Go(func() {
		for {
			for _, s := range a.Take() {
				sum.Merge(s.Strata)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	const workers, each = 4, 2000
	for range workers {
		counters.Go(func() {
			for range each {
				a.Arrive(item)
				a.Complete(item, observe.Completion{Latency: time.Millisecond})
			}
		})
	}
	counters.Wait()
	close(done)
	takers.Wait()
	for _, s := range a.TakeAll() {
		sum.Merge(s.Strata)
	}
	if n := sum.Total(); n.Requests != workers*each || n.Responses != workers*each || n.Latency.Count() != workers*each || a.InFlight() != 0 {
		t.Errorf("counted %d requests and %d responses of %d", n.Requests, n.Responses, workers*each)
	}
}

func TestSenderSendsEverySecondAlsoInSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := observe.NewAccumulator(time.Now)
		var sent []*foreshadowv1.MetricsObserved
		figure := metric.Confidence{}
		s := observe.Sender{Accumulator: a, Workload: "shop", Figure: func() metric.Confidence { return figure }, Log: slog.New(slog.DiscardHandler), Publish: func(key string, m *foreshadowv1.MetricsObserved) bool {
			if key != "shop" {
				t.Errorf("key %q", key)
			}
			sent = append(sent, m)
			return true
		}}
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		time.Sleep(3*time.Second + time.Millisecond)
		a.Arrive(item)
		a.Complete(item, observe.Completion{Latency: time.Millisecond})
		cancel()
		<-done
		figure = metric.NewConfidence(1, 0.25, 0.5, 2, 60)
		s.Drain()
		if len(sent) != 4 {
			t.Fatalf("sent %d observations, want 3 and a partial one", len(sent))
		}
		for i, m := range sent {
			if want := began.Add(time.Duration(i) * time.Second); !m.GetStartTime().AsTime().Equal(want) {
				t.Errorf("observation %d starts at %v, want %v", i, m.GetStartTime().AsTime(), want)
			}
		}
		if len(sent[0].GetTraffic()) != 0 || sent[3].GetTraffic()[0].GetRequests() != 1 {
			t.Errorf("sent %v", sent)
		}
		if c := sent[3].GetConfidence(); sent[2].GetConfidence() != nil || c.GetResponses() != 1 || c.GetMixHalfWidthSum() != 0.25 || c.GetSpanSeconds() != 60 {
			t.Errorf("confidence %v after %v", c, sent[2].GetConfidence())
		}
	})
}

func TestSecondWithManyStrataFitsItsMessages(t *testing.T) {
	t.Parallel()
	second := observe.Second{Start: time.Unix(1, 0), Strata: metric.Strata{}, MaxInFlight: 7}
	const strata = 4000
	for i := range strata {
		c := second.Strata.At(traffic.Stratum{Route: fmt.Sprintf("GET /%0100d", i)})
		c.Requests = 1
		for j := range 40 {
			c.Latency.Add(float64(j+1) / 100)
		}
	}
	messages, total := observe.Messages("shop", second), uint64(0)
	for _, m := range messages {
		if n := proto.Size(m); n > 600<<10 {
			t.Errorf("a message of %d bytes", n)
		}
		got, err := metric.StrataFromProto(m.GetTraffic())
		if err != nil {
			t.Fatal(err)
		}
		total += got.Total().Requests
	}
	if len(messages) < 2 || total != strata {
		t.Errorf("%d messages with %d requests, want %d", len(messages), total, strata)
	}
}

// BenchmarkAccumulator is the cost of counting one request, alone and with all processors at it.
func BenchmarkAccumulator(b *testing.B) {
	strata := make([]traffic.Stratum, 50)
	for i := range strata {
		strata[i] = traffic.Stratum{Route: fmt.Sprintf("GET /route/%d", i), Geography: "DE", Device: "mobile", Network: "wifi"}
	}
	count := func(a *observe.Accumulator, i int) {
		st := strata[i%len(strata)]
		a.Arrive(st)
		a.Complete(st, observe.Completion{Latency: time.Duration(i%1000) * time.Millisecond})
	}
	b.Run("alone", func(b *testing.B) {
		a := observe.NewAccumulator(time.Now)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			count(a, i)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		a := observe.NewAccumulator(time.Now)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				count(a, i)
			}
		})
	})
}
