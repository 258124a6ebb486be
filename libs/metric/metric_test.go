package metric_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestSketchQuantilesAreWithinOnePercent(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	draws := map[string]func() float64{
		"uniform":   rng.Float64,
		"lognormal": func() float64 { return math.Exp(rng.NormFloat64()*2 - 4) },
		"constant":  func() float64 { return 0.05 },
		"wide":      func() float64 { return math.Pow(10, rng.Float64()*8-5) },
	}
	for name, draw := range draws {
		var s metric.Sketch
		values := make([]float64, 5000)
		for i := range values {
			values[i] = draw()
			s.Add(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.95, 0.99, 1} {
			want, got := values[int(q*float64(len(values)-1))], s.Quantile(q)
			if math.Abs(got-want) > metric.Accuracy*want*1.0001 {
				t.Errorf("%s: quantile %v = %v, want %v within 1 %%", name, q, got, want)
			}
		}
	}
}

func TestSketchMergeIsExactInAnyGrouping(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	var whole metric.Sketch
	parts := make([]metric.Sketch, 7)
	for range 3000 {
		// Multiples of 2^-10 make the sums exact, so that they can be compared for equality.
		v := float64(rng.IntN(4096)) / 1024
		whole.Add(v)
		parts[rng.IntN(len(parts))].Add(v)
	}
	var merged metric.Sketch
	for _, i := range rng.Perm(len(parts)) {
		merged.Merge(&parts[i])
	}
	if diff := cmp.Diff(whole.Proto(), merged.Proto(), protocmp.Transform()); diff != "" {
		t.Errorf("merged sketch differs (-whole +merged):\n%s", diff)
	}
}

func TestSketchOfNothingHasNoQuantile(t *testing.T) {
	t.Parallel()
	var s metric.Sketch
	if !math.IsNaN(s.Quantile(0.95)) {
		t.Error("an empty sketch answered with a latency")
	}
	for _, odd := range []float64{math.NaN(), -1, 0, math.Inf(-1)} {
		s.Add(odd)
	}
	if s.Count() != 4 || s.Quantile(1) != 0 {
		t.Errorf("count %d, max quantile %v: want 4 zeros", s.Count(), s.Quantile(1))
	}
	s.Add(math.Inf(1))
	if q := s.Quantile(1); math.IsInf(q, 0) || math.IsNaN(q) {
		t.Errorf("an infinite latency gave quantile %v", q)
	}
}

func TestStrataRoundTrip(t *testing.T) {
	t.Parallel()
	s := metric.Strata{}
	for i, route := range []string{"GET /b", "GET /a"} {
		c := s.At(traffic.Stratum{Route: route, Device: "mobile"})
		c.Requests, c.Responses, c.Errors = uint64(i+1), uint64(i), 1
		c.Latency.Add(0.1)
	}
	wire := s.Proto()
	if wire[0].Stratum.Route != "GET /a" {
		t.Error("strata are not ordered")
	}
	back, err := metric.StrataFromProto(wire)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire, back.Proto(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	twice, err := metric.StrataFromProto(append(wire, wire...))
	if err != nil {
		t.Fatal(err)
	}
	if got := twice.Total(); got.Requests != 6 || got.Latency.Count() != 4 {
		t.Errorf("a stratum given twice was not merged: %+v", got)
	}
}

func TestDamagedSketchIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*foreshadowv1.LatencySketch){
		"counts":   func(p *foreshadowv1.LatencySketch) { p.Counts = p.Counts[:0] },
		"accuracy": func(p *foreshadowv1.LatencySketch) { p.RelativeAccuracy = 0.02 },
		"index":    func(p *foreshadowv1.LatencySketch) { p.Indices[0] = math.MaxInt32 },
		"sum":      func(p *foreshadowv1.LatencySketch) { p.SumSeconds = math.NaN() },
	} {
		var s metric.Sketch
		s.Add(1)
		p := s.Proto()
		spoil(p)
		if _, err := metric.SketchFromProto(p); err == nil {
			t.Errorf("%s: a damaged sketch was accepted", name)
		}
	}
}

func FuzzSketchFromProto(f *testing.F) {
	var s metric.Sketch
	s.Add(0.1)
	seed, _ := proto.Marshal(s.Proto())
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var p foreshadowv1.LatencySketch
		if proto.Unmarshal(data, &p) != nil {
			return
		}
		got, err := metric.SketchFromProto(&p)
		if err == nil && got.Count() > 0 && math.IsNaN(got.Quantile(0.5)) {
			t.Error("an accepted sketch has no median")
		}
	})
}

func TestBookBalancesUnderConcurrency(t *testing.T) {
	t.Parallel()
	b := metric.NewBook("hop")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				b.See(1)
				if !b.Ledger().Balanced() {
					t.Error("unbalanced in between")
				}
				if (i+j)%3 == 0 {
					b.Drop("queue_full", 1)
				} else {
					b.Pass(1)
				}
			}
		})
	}
	wg.Wait()
	l := b.Ledger()
	if l.Seen != 4000 || l.Pending != 0 || !l.Balanced() || l.Passed == 0 || l.Lost() == 0 {
		t.Errorf("ledger %+v", l)
	}
}

func TestWindowStart(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 7, 999, time.FixedZone("x", 3600))
	if got := metric.WindowStart(at, 5*time.Second); !got.Equal(at.Truncate(5 * time.Second)) {
		t.Errorf("got %v", got)
	}
	before := time.Unix(-1, 0)
	if got := metric.WindowStart(before, 10*time.Second); got.Unix() != -10 {
		t.Errorf("before the epoch: %v", got)
	}
}
