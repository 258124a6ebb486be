package model_test

import (
	"errors"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/foreshadow/foreshadow/libs/forecast"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/demand"
)

// counts are the same requests for every world that is compared.
func counts(t testing.TB, from, to int) []demand.Step {
	w := newWorld(t, shop())
	var out []demand.Step
	for s := from; s < to; s++ {
		out = append(out, demand.Step{Start: at(s), PerSecond: float64(w.count(s))})
	}
	return out
}

func expected(t testing.TB, w *world, second int) *foreshadowv1.Forecast {
	t.Helper()
	f, err := w.m.Forecast(at(second), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLateKnowledgeEndsInTheSameForecast: whatever order the past comes in, what is expected is what a predictor that had
// it all from the start expects.
func TestLateKnowledgeEndsInTheSameForecast(t *testing.T) {
	t.Parallel()
	const end = 40
	past := counts(t, -8*day, end)
	live := func(w *world, steps []demand.Step) {
		for _, s := range steps {
			w.observe(traffic(int(s.Start.Sub(epoch)/time.Second), 1, map[string]uint64{"GET /": uint64(s.PerSecond)}))
		}
	}
	straight := newWorld(t, shop())
	if err := straight.m.LoadHistory(past); err != nil {
		t.Fatal(err)
	}
	want := expected(t, straight, end)
	for name, run := range map[string]func(w *world){
		"history after a start without it": func(w *world) {
			for i := len(past) - end; i < len(past); i++ {
				live(w, past[i:i+1])
				w.decide(i - 8*day)
			}
			w.load(past[:len(past)-5])
		},
		"windows that come while history is read": func(w *world) {
			live(w, past[len(past)-20:])
			w.decide(end - 1)
			w.load(past[:len(past)-10])
		},
		"a revision while history is read": func(w *world) {
			live(w, past[len(past)-20:])
			w.decide(end - 1)
			stale := append([]demand.Step{}, past...)
			stale[len(stale)-3].PerSecond = 9999
			w.load(stale)
		},
	} {
		w := newWorld(t, shop())
		run(w)
		if w.m.Advance(at(end).Add(400 * time.Millisecond)) {
			t.Errorf("%s: history is asked for once more", name)
		}
		w.m.Refit()
		got := expected(t, w, end)
		if diff := cmp.Diff(want.GetPoints(), got.GetPoints(), protocmp.Transform(), near()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// near: a fit at once and a fit with updates differ in the calibration by what was scored live.
func near() cmp.Option {
	return cmp.Comparer(func(x, y float64) bool { return math.Abs(x-y) <= 0.1*max(math.Abs(x), math.Abs(y))+5 })
}

func (w *world) load(steps []demand.Step) {
	w.t.Helper()
	if err := w.m.LoadHistory(steps); err != nil {
		w.t.Fatal(err)
	}
}

func TestImportedWindowsAskForHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop())
	now := func(s int) time.Time { return at(s + 1).Add(400 * time.Millisecond) }
	for s := range 10 {
		w.second(s)
	}
	for s := -3 * day; s < -2*day; s++ {
		w.observe(traffic(s, 1, map[string]uint64{"": w.count(s)}))
	}
	if !w.m.Advance(now(9)) {
		t.Fatal("old windows came and history was not asked for")
	}
	if w.m.Advance(now(9)) {
		t.Error("asked twice")
	}
}

func TestWithoutHistoryTheForecastAbstains(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop())
	var abstained *forecast.Abstention
	if _, err := w.m.Forecast(at(0), 0); !errors.As(err, &abstained) || abstained.Reason == "" {
		t.Errorf("forecast of nothing: %v", err)
	}
	w.m.ObserveCapacity(measured(capacity))
	if r := w.second(0); !has(r, "forecast_missing") || r.GetPolicy() != foreshadowv1.Policy_POLICY_REACTIVE {
		t.Errorf("%v: %v, want reactive and why", r.GetPolicy(), r.GetReasons())
	}
}

func TestResourcesComeFromTheRegression(t *testing.T) {
	t.Parallel()
	// One request of each route costs one instance this; at the capacity of 50/s and an even mix that is 25 of each.
	const baseMemory, perRequest = 64e6, 1e5
	for name, c := range map[string]struct {
		cart func(second int, home float64) float64
	}{
		"routes that move apart":           {func(s int, _ float64) float64 { return 40 + 20*math.Cos(float64(s)/3) }},
		"routes that rise and fall as one": {func(_ int, home float64) float64 { return home }},
	} {
		w := newWorld(t, shop())
		w.m.ObserveCapacity(measured(capacity))
		var r *foreshadowv1.Recommendation
		for s := range 120 {
			home := math.Round(40 + 20*math.Sin(float64(s)/5))
			cart := math.Round(c.cart(s, home))
			w.observe(traffic(s, 1, map[string]uint64{"GET /": uint64(home), "POST /cart": uint64(cart)}))
			each := (home + cart) / 2
			w.observe(using(s, 2, &foreshadowv1.InstanceUsage{
				CpuCores: 0.05 + 0.004*home/2 + 0.006*cart/2, MemoryBytes: uint64(baseMemory + perRequest*each),
				ReceiveBytesPerSecond: 500 * each, TransmitBytesPerSecond: 1500 * each,
			}))
			r = w.decide(s)
		}
		size := r.GetProduction()
		// Headroom is the decision's own: at least none, at most half as much again.
		for what, c := range map[string]struct{ got, want float64 }{
			"memory":  {float64(size.GetMemoryBytes()), baseMemory + capacity*perRequest},
			"network": {size.GetNetworkBytesPerSecond(), capacity * 2000},
			"cpu":     {size.GetCpuCores(), 0.05 + capacity*0.005},
		} {
			if !(c.got >= 0.98*c.want && c.got <= 1.5*c.want) {
				t.Errorf("%s: %s per instance %v, want %v and some headroom", name, what, c.got, c.want)
			}
		}
	}
}

// ready is a model in the middle of its work: ten days of history, fifteen minutes of live windows with usage.
func ready(b testing.TB) *world {
	w := newWorld(b, shop())
	w.history(-10*day, 0)
	w.m.ObserveCapacity(measured(capacity))
	for s := range 900 {
		w.second(s)
	}
	return w
}

// BenchmarkPredict is one decision, as it is made each interval.
func BenchmarkPredict(b *testing.B) {
	w := ready(b)
	now := at(900).Add(400 * time.Millisecond)
	w.m.Advance(now)
	b.ReportAllocs()
	for b.Loop() {
		w.m.Predict(now)
	}
}

// BenchmarkMemory reports what a workload holds.
func BenchmarkMemory(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		w := ready(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(w)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB/workload")
	}
}
