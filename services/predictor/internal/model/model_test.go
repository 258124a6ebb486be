package model_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/demand"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Unix(1_700_000_000, 0).UTC().Truncate(time.Minute)

const (
	production = foreshadowv1.Environment_ENVIRONMENT_PRODUCTION
	day        = 120 // seconds, compressed as in the demo
	capacity   = 50  // requests per second of one instance
)

func at(second int) time.Time { return epoch.Add(time.Duration(second) * time.Second) }

func shop() workload.Workload {
	w := workload.Default()
	w.Name = "shop"
	w.SLO = workload.SLO{Quantile: 0.95, Latency: 200 * time.Millisecond}
	w.Production.CPUCores = 1
	w.Instances = workload.Limits{Min: 1, Max: 30}
	w.Policy.Interval, w.Policy.Startup = time.Second, 4*time.Second
	w.Policy.ScaleDownAfter, w.Policy.History = 12*time.Second, 20*time.Minute
	return w
}

// rate is a day with one steep ramp: quiet, up within ten seconds, a plateau, and down.
func rate(second int) float64 {
	switch s := ((second % day) + day) % day; {
	case s < 40:
		return 60
	case s < 50:
		return 60 + 34*float64(s-40)
	case s < 90:
		return 400
	default:
		return math.Max(60, 400-17*float64(s-90))
	}
}

func traffic(second int, revision uint64, routes map[string]uint64) *foreshadowv1.MetricsWindowed {
	t := &foreshadowv1.TrafficWindow{}
	for route, n := range routes {
		t.Strata = append(t.Strata, &foreshadowv1.Traffic{Stratum: &foreshadowv1.Stratum{Route: route}, Requests: n})
	}
	return &foreshadowv1.MetricsWindowed{
		Workload: "shop", Environment: production, StartTime: timestamppb.New(at(second)), DurationSeconds: 1, Revision: revision,
		Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: t},
	}
}

// using is a usage window of n equal instances.
func using(second, n int, each *foreshadowv1.InstanceUsage) *foreshadowv1.MetricsWindowed {
	u := &foreshadowv1.UsageWindow{DesiredInstances: int32(n), ReadyInstances: int32(n)}
	for range n {
		each = proto.CloneOf(each)
		each.Ready = true
		u.Instances = append(u.Instances, each)
	}
	return &foreshadowv1.MetricsWindowed{
		Workload: "shop", Environment: production, StartTime: timestamppb.New(at(second)), DurationSeconds: 1, Revision: 1,
		Content: &foreshadowv1.MetricsWindowed_Usage{Usage: u},
	}
}

func measured(rate float64) *foreshadowv1.CapacityMeasured {
	return &foreshadowv1.CapacityMeasured{
		Workload: "shop", Valid: true, MeasureTime: timestamppb.New(epoch), ExpireTime: timestamppb.New(epoch.Add(24 * time.Hour)),
		RequestsPerSecond: rate, SloLatencySeconds: 0.2, SloQuantile: 0.95, Precise: true,
		Mix: []*foreshadowv1.StratumShare{{Stratum: &foreshadowv1.Stratum{Route: "GET /"}, Share: 1}},
	}
}

func applied(id string, second int, startup float64) *foreshadowv1.ScalingApplied {
	return &foreshadowv1.ScalingApplied{
		ActionId: id, Workload: "shop", Environment: production, StartupSeconds: startup, CreateTime: timestamppb.New(at(second)),
	}
}

// world drives a model through time; what is recommended is carried out at once.
type world struct {
	t         testing.TB
	m         *model.Model
	rng       *rand.Rand
	instances int
}

func newWorld(t testing.TB, w workload.Workload) *world {
	t.Helper()
	m, err := model.New(w)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, m: m, rng: rand.New(rand.NewPCG(1, 2)), instances: 2}
}

// count is what a second's rate makes of requests, with the noise of a count.
func (w *world) count(second int) uint64 {
	r := rate(second)
	return uint64(max(0, math.Round(r+math.Sqrt(r)*w.rng.NormFloat64())))
}

func (w *world) history(from, to int) {
	w.t.Helper()
	var steps []demand.Step
	for s := from; s < to; s++ {
		steps = append(steps, demand.Step{Start: at(s), PerSecond: float64(w.count(s))})
	}
	if err := w.m.LoadHistory(steps); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) observe(m *foreshadowv1.MetricsWindowed) {
	w.t.Helper()
	if _, err := w.m.ObserveWindow(m); err != nil {
		w.t.Fatal(err)
	}
}

// second lets one second pass and returns the recommendation made when its window has settled.
func (w *world) second(s int) *foreshadowv1.Recommendation {
	w.t.Helper()
	n := w.count(s)
	w.observe(traffic(s, 1, map[string]uint64{"GET /": n}))
	w.observe(using(s, w.instances, &foreshadowv1.InstanceUsage{CpuCores: 0.1 + 0.01*float64(n)/float64(w.instances)}))
	r := w.decide(s)
	w.instances = int(r.GetProduction().GetInstances())
	return r
}

func (w *world) decide(s int) *foreshadowv1.Recommendation {
	now := at(s + 1).Add(400 * time.Millisecond)
	w.m.Advance(now)
	if w.m.NeedsRefit() {
		w.m.Refit()
	}
	return w.m.Predict(now)
}

func has(r *foreshadowv1.Recommendation, code string) bool {
	for _, reason := range r.GetReasons() {
		if reason.GetCode() == code && reason.GetText() != "" {
			return true
		}
	}
	return false
}

func TestGrowsBeforeTheRamp(t *testing.T) {
	t.Parallel()
	lead := map[workload.PolicyKind]int{}
	passing := 0 // seconds at which more is expected before an instance could be ready than after
	for _, kind := range []workload.PolicyKind{workload.Predictive, workload.Reactive} {
		c := shop()
		c.Policy.Kind = kind
		w := newWorld(t, c)
		w.history(-8*day, 0)
		w.m.ObserveCapacity(measured(capacity))
		for s := range 60 {
			r := w.second(s)
			if s < 10 {
				continue
			}
			if kind == workload.Reactive && (r.GetPolicy() == foreshadowv1.Policy_POLICY_PREDICTIVE || r.GetEvidence().GetForecastPerSecond() != 0) {
				t.Fatalf("second %d: policy reactive used the forecast: %v", s, r)
			}
			if e := r.GetEvidence(); kind == workload.Predictive {
				if !(e.GetForecastArrivalPerSecond() > 0 && e.GetForecastArrivalPerSecond() <= e.GetForecastPerSecond()) {
					t.Errorf("second %d: %g requests/s expected when an instance is ready, %g until then", s, e.GetForecastArrivalPerSecond(), e.GetForecastPerSecond())
				}
				if e.GetForecastArrivalPerSecond() < e.GetForecastPerSecond() {
					passing++
				}
			}
			// 150 requests/s need four instances with some to spare for noise.
			if lead[kind] == 0 && r.GetProduction().GetInstances() >= 4 {
				lead[kind] = s
				if kind == workload.Predictive && (!has(r, "forecast_above_committed") || !has(r, "forecast_trusted") || r.GetPolicy() != foreshadowv1.Policy_POLICY_PREDICTIVE) {
					t.Errorf("second %d: the forecast is not said to have decided: %v", s, r.GetReasons())
				}
			}
		}
	}
	if p, r := lead[workload.Predictive], lead[workload.Reactive]; p == 0 || p > 40 || r <= 41 {
		t.Errorf("grew at second %d by forecast and %d by demand; the ramp begins at 40", p, r)
	}
	if passing == 0 {
		t.Error("what is expected when an instance is ready is what is expected until then")
	}
}

func TestSaysWhatMoneyBuysOnceItKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop())
	w.history(-8*day, 0)
	w.m.ObserveCapacity(measured(capacity))
	var first, last *foreshadowv1.Prospects
	for s := range 2 * day {
		last = w.second(s).GetProspects()
		if s == 10 {
			first = last
		}
	}
	if first != nil || last == nil {
		t.Fatalf("prospects %v after 10 s and %v after two days", first, last)
	}
	if p := last.GetProspects(); last.GetSeenSeconds() < 0.5*day || len(p) < 2 || p[0].GetBudget() != 0 || p[0].GetRisk() != shop().Policy.Risk || !(p[0].GetCostRatio() > 0) {
		t.Errorf("prospects %v, want them of most of two days, first without a budget at the configured risk", last)
	}
}

func TestHoldsWhenDataStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop())
	w.m.ObserveCapacity(measured(capacity))
	// By then the first guesses, made from a handful of points, have been taken back.
	const stop = 38
	for s := range stop {
		w.second(s)
	}
	held := w.instances
	if held < 2 {
		t.Fatalf("%d instances for 60 requests/s: nothing could shrink", held)
	}
	for s := stop; s < stop+60; s++ {
		r := w.decide(s)
		if got := int(r.GetProduction().GetInstances()); got < held {
			t.Fatalf("second %d: shrank to %d from %d without data", s, got, held)
		}
	}
	r := w.decide(stop + 60)
	if r.GetPolicy() != foreshadowv1.Policy_POLICY_HOLD || !has(r, "demand_missing") {
		t.Errorf("after a minute without data: %v %v, want to hold and say why", r.GetPolicy(), r.GetReasons())
	}
}

func TestRecommendsNothingBeforeItKnowsWhatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop())
	w.history(-8*day, 0)
	w.m.ObserveCapacity(measured(capacity))
	w.observe(traffic(0, 1, map[string]uint64{"GET /": 60}))
	if r := w.decide(0); r != nil {
		t.Errorf("production's size is not known, and yet: %v", r)
	}
	w.observe(using(0, 9, &foreshadowv1.InstanceUsage{}))
	if got := w.decide(0).GetEvidence().GetDesiredInstances(); got != 9 {
		t.Errorf("decided on %d instances, nine run", got)
	}
	// The platform's report is away; what the provisioner did since is known all the same.
	a := applied("a", 5, 0)
	a.Outcome, a.To = foreshadowv1.Outcome_OUTCOME_APPLIED, &foreshadowv1.Sizing{Instances: 12}
	w.m.ObserveAction(a)
	if got := w.decide(6).GetEvidence().GetDesiredInstances(); got != 12 {
		t.Errorf("desired %d after an action to 12", got)
	}
}

func TestAnInvalidCapacityChangesNothing(t *testing.T) {
	t.Parallel()
	recommend := func(spoil ...func(*foreshadowv1.CapacityMeasured)) *foreshadowv1.Recommendation {
		w := newWorld(t, shop())
		w.m.ObserveCapacity(measured(capacity))
		for _, change := range spoil {
			c := measured(9 * capacity)
			c.MeasureTime = timestamppb.New(at(1))
			c.StartupSeconds = 99
			change(c)
			if w.m.ObserveCapacity(c) {
				t.Errorf("taken: %v", c)
			}
		}
		return w.second(2)
	}
	want := recommend()
	got := recommend(
		func(c *foreshadowv1.CapacityMeasured) { c.Valid = false },
		func(c *foreshadowv1.CapacityMeasured) { c.RequestsPerSecond = 0 },
		func(c *foreshadowv1.CapacityMeasured) { c.RequestsPerSecond = -1 },
		func(c *foreshadowv1.CapacityMeasured) { c.RequestsPerSecond = math.NaN() },
		func(c *foreshadowv1.CapacityMeasured) { c.RequestsPerSecond = math.Inf(1) },
		func(c *foreshadowv1.CapacityMeasured) { c.MeasureTime = nil },
		func(c *foreshadowv1.CapacityMeasured) { c.MeasureTime = timestamppb.New(epoch) },
		func(c *foreshadowv1.CapacityMeasured) { c.SloLatencySeconds = 1 },
		func(c *foreshadowv1.CapacityMeasured) { c.SloQuantile = 0.5 },
	)
	if want.GetEvidence().GetCapacityPerSecond() != capacity {
		t.Fatalf("capacity %v, want %d", want.GetEvidence().GetCapacityPerSecond(), capacity)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("invalid measurements changed the recommendation:\n%s", diff)
	}
}

func TestAMixThatMovedIsSaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		routes map[string]uint64
		moved  bool
	}{
		"as measured":             {map[string]uint64{"GET /": 100}, false},
		"a third new":             {map[string]uint64{"GET /": 67, "POST /cart": 33}, true},
		"imported, routes unsaid": {map[string]uint64{"": 100}, false},
	} {
		w := newWorld(t, shop())
		w.m.ObserveCapacity(measured(capacity))
		// An import of an hour ago that comes late says nothing about today.
		w.observe(traffic(-3600, 1, map[string]uint64{"POST /import": 1e6}))
		for s := range 10 {
			w.observe(traffic(s, 1, c.routes))
			// A revision replaces what was counted; it is not counted once more.
			if s == 5 {
				w.observe(traffic(s, 2, map[string]uint64{"POST /cart": 9999}))
				w.observe(traffic(s, 3, c.routes))
			}
		}
		w.observe(using(9, 2, &foreshadowv1.InstanceUsage{}))
		if r := w.decide(9); has(r, "capacity_mix_moved") != c.moved {
			t.Errorf("%s: moved is %v: %v", name, !c.moved, r.GetReasons())
		}
	}
}

func TestStartupIsAHighPercentileOfTheNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop())
	startup := func() float64 {
		w.observe(using(0, 2, &foreshadowv1.InstanceUsage{}))
		return w.decide(0).GetEvidence().GetStartupSeconds()
	}
	if got := startup(); got != 4 {
		t.Errorf("nothing measured: %v s, want the configured 4", got)
	}
	c := measured(capacity)
	c.StartupSeconds = 7
	w.m.ObserveCapacity(c)
	if got := startup(); got != 7 {
		t.Errorf("measured in the shadow only: %v s, want 7", got)
	}
	// Newest first, as history has them, and everything twice. The oldest five took a minute.
	for range 2 {
		for i := 24; i >= 0; i-- {
			took := 5 + float64(i)/100
			if i < 5 {
				took = 60
			}
			w.m.ObserveAction(applied(fmt.Sprint(i), i, took))
		}
	}
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1), 1e9} {
		if w.m.ObserveAction(applied("bad", 99, bad)) {
			t.Errorf("a start-up of %v s was taken", bad)
		}
	}
	if got := startup(); got != 5.22 {
		t.Errorf("start-up %v s, want 5.22: the 18th of the newest 20", got)
	}
}

func TestGenerationsGrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop())
	before := uint64(at(3600).UnixNano())
	w.m.ObserveGeneration(before) // made by a predecessor whose clock was an hour ahead
	w.observe(using(0, 2, &foreshadowv1.InstanceUsage{}))
	last := before
	for range 3 {
		r := w.decide(0) // the clock stands still
		if r.GetGeneration() <= last {
			t.Errorf("generation %d after %d", r.GetGeneration(), last)
		}
		last = r.GetGeneration()
	}
	// Another predictor, of which what it said an hour ahead was carried out, is gone.
	last = uint64(at(7200).UnixNano())
	w.m.ObserveAction(&foreshadowv1.ScalingApplied{Workload: "shop", Environment: production, Generation: last, CreateTime: timestamppb.New(at(0))})
	if r := w.decide(0); r.GetGeneration() <= last {
		t.Errorf("generation %d, though %d was carried out: it would be refused for an hour", r.GetGeneration(), last)
	}
}

// Two weeks at 15 s are forecast as peaks of five minutes, in the backtest and here.
func TestALongHistoryIsForecastInCoarseSteps(t *testing.T) {
	t.Parallel()
	if got := model.Step(workload.Default().Policy); got != 5*time.Minute {
		t.Errorf("step %s, want 5m", got)
	}
}
