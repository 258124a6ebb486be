package scaling

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var awkward = []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 1e-300, 1e300, math.MaxFloat64, 0.5, 1, 100}

func anyFloat(r *rand.Rand) float64 {
	if r.IntN(3) == 0 {
		return awkward[r.IntN(len(awkward))]
	}
	return math.Exp(8*r.NormFloat64() - 1)
}

func anyTime(r *rand.Rand, now time.Time) time.Time {
	switch r.IntN(8) {
	case 0:
		return time.Time{}
	case 1:
		return now.Add(time.Duration(r.Int64()))
	}
	return now.Add(-time.Duration(r.Int64N(int64(2 * time.Minute))))
}

func anyDuration(r *rand.Rand) time.Duration {
	if r.IntN(6) == 0 {
		return time.Duration(r.Uint64())
	}
	return time.Duration(r.Int64N(int64(10 * time.Minute)))
}

func anyInt(r *rand.Rand) int {
	if r.IntN(8) == 0 {
		return int(r.Uint64())
	}
	return r.IntN(60) - 5
}

func anyQuantiles(r *rand.Rand) []Quantile {
	out := make([]Quantile, r.IntN(4))
	for i := range out {
		out[i] = Quantile{r.Float64(), anyFloat(r)}
		if r.IntN(10) == 0 {
			out[i].Level = anyFloat(r)
		}
	}
	return out
}

func anyInput(r *rand.Rand, now time.Time) Input {
	in := Input{
		Config:      DefaultConfig(),
		Instances:   Instances{anyInt(r), anyInt(r)},
		Startup:     anyDuration(r),
		Forecast:    Forecast{anyTime(r, now), anyQuantiles(r), anyQuantiles(r), anyQuantiles(r), anyFloat(r), anyFloat(r), anyFloat(r), r.IntN(2) == 0, ""},
		Capacity:    Capacity{Source(r.IntN(4)), anyFloat(r), anyFloat(r), anyFloat(r), anyTime(r, now), anyTime(r, now), anyFloat(r), r.IntN(2) == 0, r.IntN(4) == 0, ""},
		Limits:      Limits{anyFloat(r), anyFloat(r), anyFloat(r)},
		Utilization: Utilization{anyFloat(r), anyTime(r, now), anyFloat(r)},
		Resources:   Resources{Line{anyFloat(r), anyFloat(r)}, Line{anyFloat(r), anyFloat(r)}, Line{anyFloat(r), anyFloat(r)}},
	}
	if r.IntN(4) == 0 {
		in.Price = anyFloat(r)
		in.Tried = []Tried{{"other", InstanceSize{anyFloat(r), anyFloat(r)}, in.Capacity, anyFloat(r)}}
		in.Size = InstanceSize{anyFloat(r), anyFloat(r)}
		in.Config.SizeMemory, in.Config.FollowSize = anyDuration(r), r.IntN(2) == 0
	}
	in.Config.MinInstances, in.Config.MaxInstances = anyInt(r), anyInt(r)
	for range r.IntN(5) {
		in.Demand = append(in.Demand, Point{anyTime(r, now), anyFloat(r)})
	}
	if r.IntN(3) == 0 {
		c := &in.Config
		c.Risk, c.Imbalance, c.DownMargin, c.DownStep, c.Headroom = anyFloat(r), anyFloat(r), anyFloat(r), anyFloat(r), anyFloat(r)
		c.Interval, c.Smoothing, c.DownHold, c.Lifetime, c.HPA.Sync = anyDuration(r), anyDuration(r), anyDuration(r), anyDuration(r), anyDuration(r)
		c.HPA.TargetPercent, c.ShadowInstances = anyInt(r), anyInt(r)
	}
	return in
}

// Whatever the input, Decide returns a finite size within the limits, says why, and gives the same answer twice.
func TestDecideHoldsItsPromisesOnAnyInput(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2026, 1))
	cases := 100_000
	if testing.Short() {
		cases = 10_000
	}
	var s State
	now := start
	for i := range cases {
		if i%20 == 0 {
			s = State{}
		}
		now = now.Add(time.Duration(r.Int64N(int64(time.Minute))))
		in := anyInput(r, now)
		d, next := Decide(s, in, now)
		again, same := Decide(s, in, now)
		opt := []cmp.Option{cmp.Exporter(func(reflect.Type) bool { return true }), cmp.Comparer(time.Time.Equal)}
		if i%50 == 0 {
			if diff := cmp.Diff(d, again, opt...) + cmp.Diff(next, same, opt...); diff != "" {
				t.Fatalf("case %d: two answers to one question:\n%s", i, diff)
			}
		}
		checkPromises(t, i, in, d, now)
		s = next
	}
}

func checkPromises(t *testing.T, i int, in Input, d Decision, now time.Time) {
	t.Helper()
	lo := max(1, in.Config.MinInstances)
	hi := max(lo, in.Config.MaxInstances)
	n := d.Production.Instances
	if n < lo || n > hi {
		t.Fatalf("case %d: %d instances outside %d..%d", i, n, lo, hi)
	}
	if len(d.Reasons) == 0 {
		t.Fatalf("case %d: no reason", i)
	}
	if a := d.Cheaper; a != nil && (a.Instances < lo || a.Instances > hi || !(a.Hourly < a.Today)) {
		t.Fatalf("case %d: alternative %+v", i, a)
	}
	for _, r := range d.Reasons {
		if d.Text(r) == "" {
			t.Fatalf("case %d: %s has no text", i, r.Code)
		}
	}
	for _, v := range []float64{
		d.Production.CPUCores, d.Production.MemoryBytes, d.Production.NetworkBytesPerSecond, d.Evidence.Demand,
		d.Evidence.Forecast, d.Evidence.ForecastHold, d.Evidence.Capacity, d.Evidence.CapacityUsed, d.Evidence.Utilization,
	} {
		if !known(v) {
			t.Fatalf("case %d: %v in %+v", i, v, d)
		}
	}
	if _, _, _, ok := demandNow(in.Demand, in.Config.usable(), now); !ok && n < min(in.Instances.Desired, instanceLimit, hi) {
		t.Fatalf("case %d: shrunk from %d to %d without knowing the demand", i, in.Instances.Desired, n)
	}
}

func BenchmarkDecide(b *testing.B) {
	in, now := settled(), start
	var s State
	var d Decision
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(15 * time.Second)
		load := 800 + 300*math.Sin(float64(i)/50)
		in.Demand[0] = Point{now.Add(-time.Second), load}
		in.Demand[1] = Point{now, load}
		in.Forecast.Issued, in.Utilization.At = now, now
		in.Forecast.Lead[1].PerSecond, in.Forecast.Hold[1].PerSecond = load*1.1, load*1.15
		d, s = Decide(s, in, now)
		in.Instances = Instances{d.Production.Instances, d.Production.Instances}
	}
}
