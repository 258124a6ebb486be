package backtest

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
	"github.com/foreshadow/foreshadow/libs/scaling/policy"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// shop is a service with a steep morning every day and a little noise.
func shop(days int, step time.Duration) forecast.Series {
	r := rand.New(rand.NewPCG(4, 2))
	s := forecast.Series{Start: epoch, Step: step}
	for t := time.Duration(0); t < time.Duration(days)*24*time.Hour; t += step {
		hour := math.Mod(t.Hours(), 24)
		v := 200 + 800/(1+math.Exp(-6*(hour-9)))/(1+math.Exp(3*(hour-18)))
		s.Values = append(s.Values, v*(1+0.02*r.NormFloat64()))
	}
	return s
}

func run(t *testing.T, s forecast.Series, o Options) Report {
	t.Helper()
	r, err := Run(context.Background(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// quick is the default world in ticks of a minute.
func quick() Options {
	o := Default()
	o.Tick = time.Minute
	return o
}

func TestRunOnAPredictableService(t *testing.T) {
	t.Parallel()
	calls, most := 0, 0
	o := quick()
	o.Startup = 10 * time.Minute
	o.Progress = func(done, all int) {
		if done != calls {
			t.Errorf("told that %d are done after %d", done, calls-1)
		}
		calls, most = calls+1, max(most, all)
	}
	r := run(t, shop(6, time.Minute), o)

	names := map[string]bool{}
	points := 0
	for _, c := range r.Curves {
		names[c.Policy] = true
		points += len(c.Points)
	}
	want := map[string]bool{
		Foreshadow: true, NoBudget: true, HPA: true, Oracle: true, "Request rate": true, "HPA + cron": true, "AWS predictive": true,
		"Crane replay": true, "PHPA Holt-Winters": true, "Autopilot window": true, "Static": true,
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	if calls != 1+points || most != points {
		t.Errorf("progress told %d times of %d runs, want once before and after each of %d", calls, most, points)
	}
	for _, name := range Policies() {
		if !names[name] {
			t.Errorf("%s can be asked for, but did not run", name)
		}
	}
	if math.Abs(r.Days-6) > 1e-9 || math.Abs(r.ScoredDays-4) > 1e-9 || r.StartupSeconds != 600 {
		t.Errorf("%g days, %g scored, start-up %g s", r.Days, r.ScoredDays, r.StartupSeconds)
	}
	oracle, _ := r.Curve(Oracle)
	ours, _ := r.Curve(Foreshadow)
	hpa, _ := r.Curve(HPA)
	if oracle.AtCost != 0 || oracle.AtViolations >= 1 {
		t.Errorf("the clairvoyant violates %g at cost %g", oracle.AtCost, oracle.AtViolations)
	}
	if hpa.AtCostRatio > 1 || hpa.AtViolations > 1 {
		t.Errorf("the HPA compared with itself: %+v", hpa)
	}
	if r.Reference.ViolatedShare < 1e-3 || !(ours.AtCostRatio >= 0 && ours.AtCostRatio < 0.3) {
		t.Errorf("Foreshadow violates %g of the HPA's %g on a service that repeats itself", ours.AtCostRatio, r.Reference.ViolatedShare)
	}
	if !(ours.AtViolations < 1) || ours.AtViolations < oracle.AtViolations {
		t.Errorf("cost at equal violations %g, the bound is %g", ours.AtViolations, oracle.AtViolations)
	}
	if r.TrustedShare < 0.9 {
		t.Errorf("trusted %g of the time", r.TrustedShare)
	}
	h := r.Forecast[0]
	if h.Steps != 1 || h.Minutes != 5 || h.Relative > 0.05 || len(h.Coverage) != 5 || math.Abs(h.Coverage[3].Observed-0.95) > 0.04 {
		t.Errorf("forecast quality %+v", h)
	}
}

// Nothing may be seen before it happened: another future leaves every decision before it as it was.
func TestNothingIsSeenBeforeItHappened(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{time.Minute, 10 * time.Minute} {
		decide := func(s forecast.Series) []int32 {
			o := quick()
			w, f, err := o.prepare(s)
			if err != nil {
				t.Fatal(err)
			}
			if err := (shelf{}).foresee(context.Background(), f); err != nil {
				t.Fatal(err)
			}
			r, err := simulate.Run(w.demand, w.config, policy.NewForeshadow(o.Decision, f))
			if err != nil {
				t.Fatal(err)
			}
			return r.Desired
		}
		s := shop(6, step)
		other := s
		other.Values = append([]float64(nil), s.Values...)
		// A cut inside a five-minute step, and a future that keeps the 99th percentile, which sets the scale.
		cut := len(s.Values)*5/6 + 3
		for i := cut; i < len(s.Values); i++ {
			other.Values[i] = s.Values[len(s.Values)-1-(i-cut)]
		}
		ticks := cut * int(step/time.Minute)
		a, b := decide(s), decide(other)
		if d := cmp.Diff(a[:ticks], b[:ticks]); d != "" {
			t.Errorf("step %s: decisions before the future began differ", step)
		}
		if cmp.Equal(a[ticks:], b[ticks:]) {
			t.Errorf("step %s: the other future changed nothing at all", step)
		}
	}
}

func TestRunIsDeterministic(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Policies = []string{Oracle}
	s := shop(5, 5*time.Minute)
	if d := cmp.Diff(run(t, s, o), run(t, s, o)); d != "" {
		t.Error(d)
	}
}

func TestUnpredictableDemandIsNoWorse(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	s := forecast.Series{Start: epoch, Step: 5 * time.Minute}
	level := 1000.0
	for range 5 * 288 {
		level = math.Max(10, level*math.Exp(0.12*r.NormFloat64()))
		s.Values = append(s.Values, level)
	}
	o := quick()
	o.Policies = []string{Oracle}
	got := run(t, s, o)
	ours, _ := got.Curve(Foreshadow)
	if got.Reference.ViolatedShare < 1e-3 || ours.AtCostRatio < 0 || ours.AtCostRatio > 1 || ours.AtViolations < 0 || ours.AtViolations > 1 {
		t.Errorf("on a random walk Foreshadow violates %g of the HPA's %g at its cost, and costs %g at its violations",
			ours.AtCostRatio, got.Reference.ViolatedShare, ours.AtViolations)
	}
}

// A launch that no history tells of is prepared for when it is in the calendar.
func TestWhatIsKnownBeforehandIsPreparedFor(t *testing.T) {
	t.Parallel()
	s := shop(6, 5*time.Minute)
	for i := range s.Values {
		if at := s.Time(i).Sub(epoch); at >= 4*24*time.Hour+11*time.Hour && at < 4*24*time.Hour+14*time.Hour {
			s.Values[i] *= 2
		}
	}
	o := quick()
	o.Startup, o.Policies = 10*time.Minute, []string{Oracle}
	surprised, _ := run(t, s, o).Curve(Foreshadow)
	o.Calendar.Events = []calendar.Event{{Name: "launch", Start: "2026-03-06 11:00", End: "2026-03-06 14:00", Multiplier: new(2.0)}}
	prepared, _ := run(t, s, o).Curve(Foreshadow)
	if !(surprised.AtCostRatio > 0 && prepared.AtCostRatio < 0.5*surprised.AtCostRatio) {
		t.Errorf("of the HPA's violations %g are left with the launch in the calendar, %g without", prepared.AtCostRatio, surprised.AtCostRatio)
	}
}

// In a shutdown that is in the calendar nothing is kept for users who might be back at once.
func TestWhatIsKnownToStayAwayIsNotKeptFor(t *testing.T) {
	t.Parallel()
	s := shop(6, 5*time.Minute)
	for i := range s.Values {
		if at := s.Time(i).Sub(epoch); at >= 4*24*time.Hour+11*time.Hour && at < 4*24*time.Hour+14*time.Hour {
			s.Values[i] = 0
		}
	}
	o := quick()
	o.Startup, o.Policies = 10*time.Minute, []string{NoBudget}
	idle := func() float64 {
		c, _ := run(t, s, o).Curve(NoBudget)
		return c.Points[0].OverAccuracy
	}
	blind := idle()
	o.Calendar.Events = []calendar.Event{{Name: "shutdown", Start: "2026-03-06 11:00", End: "2026-03-06 14:00", Multiplier: new(0.0)}}
	if told := idle(); !(told < 0.5*blind) {
		t.Errorf("%g times what is needed is held idle with the shutdown in the calendar, %g without", told, blind)
	}
}

func TestMissingPointsAreSurvived(t *testing.T) {
	t.Parallel()
	s := shop(6, 5*time.Minute)
	for i := range s.Values {
		if i%7 == 0 || i > 1000 && i < 1100 {
			s.Values[i] = math.NaN()
		}
	}
	o := quick()
	o.Policies = []string{Oracle}
	if r := run(t, s, o); r.Reference.InstanceHours <= 0 {
		t.Errorf("%+v", r.Reference)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	good := shop(1, 5*time.Minute)
	for name, tc := range map[string]struct {
		series forecast.Series
		change func(*Options)
		want   string
	}{
		"empty":               {forecast.Series{Step: time.Minute}, func(*Options) {}, "no demand"},
		"all missing":         {forecast.Series{Step: time.Minute, Values: []float64{math.NaN(), math.NaN()}}, func(*Options) {}, "no demand"},
		"all zero":            {forecast.Series{Step: time.Minute, Values: make([]float64, 9)}, func(*Options) {}, "no demand"},
		"negative":            {forecast.Series{Start: epoch, Step: time.Minute, Values: []float64{1, -1}}, func(*Options) {}, "value -1 at 2026-03-02T00:01:00Z"},
		"absurd":              {forecast.Series{Start: epoch, Step: time.Minute, Values: []float64{1, 1e300}}, func(*Options) {}, "value 1e+300 at 2026-03-02T00:01:00Z: demand must lie between 0 and 1e+15"},
		"infinite":            {forecast.Series{Start: epoch, Step: time.Minute, Values: []float64{1, math.Inf(1)}}, func(*Options) {}, "value +Inf at 2026-03-02T00:01:00Z"},
		"odd step":            {forecast.Series{Step: 50 * time.Second, Values: []float64{1, 1}}, func(*Options) {}, "tick 15s: does not divide the step of 50s"},
		"odd fine step":       {forecast.Series{Step: 4 * time.Second, Values: []float64{1, 1}}, func(*Options) {}, "tick 15s: is no multiple of the step of 4s"},
		"too short":           {forecast.Series{Step: time.Minute, Values: good.Values[:235]}, func(*Options) {}, "too short: 47 points of 5m0s, at least 48"},
		"no such policy":      {good, func(o *Options) { o.Policies = []string{"Static", "oracle"} }, `policies: "oracle" is none, there are Foreshadow, Foreshadow without budget, Kubernetes HPA, `},
		"tiny capacity":       {good, func(o *Options) { o.Capacity = 1e-9 }, "at most 100000 are simulated"},
		"many instances":      {good, func(o *Options) { o.Instances = 100_001 }, "instances 100001: must lie between 1 and 100000"},
		"tick":                {good, func(o *Options) { o.Tick = 0 }, "tick"},
		"start-up":            {good, func(o *Options) { o.Startup = -1 }, "startup"},
		"capacity":            {good, func(o *Options) { o.Capacity = math.NaN() }, "capacity"},
		"instances":           {good, func(o *Options) { o.Instances = 0 }, "instances"},
		"hpa":                 {good, func(o *Options) { o.HPA = 101 }, "hpa target 101"},
		"decision":            {good, func(o *Options) { o.Decision.Risk = 2 }, "risk"},
		"utilization":         {good, func(o *Options) { o.MaxUtilization = 1.5 }, "max_utilization"},
		"all of it a warm-up": {good, func(o *Options) { o.Warmup = 48 * time.Hour }, "warmup"},
	} {
		o := Default()
		tc.change(&o)
		_, err := Run(context.Background(), tc.series, o)
		var input *InputError
		if !errors.As(err, &input) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one of the input about %q", name, err, tc.want)
		}
	}
}

func TestRunStopsWhenCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	o := quick()
	o.Progress = func(done, _ int) {
		if done == 2 {
			cancel()
		}
	}
	if _, err := Run(ctx, shop(2, 5*time.Minute), o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestFineSeriesAreGatheredToTicks(t *testing.T) {
	t.Parallel()
	o := Default()
	o.Capacity = 10
	w, err := o.world(forecast.Series{Step: 5 * time.Second, Values: []float64{1, 2, 3, 4, 5, 6}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{30, 75}, w.demand); d != "" {
		t.Error(d)
	}
	if w.config.Capacity*w.config.MaxUtilization != 10 {
		t.Errorf("capacity %g at %g", w.config.Capacity, w.config.MaxUtilization)
	}
}

func TestCoarseSeriesAreRepeatedNotInterpolated(t *testing.T) {
	t.Parallel()
	o := Default()
	o.Warmup = time.Second
	w, err := o.world(forecast.Series{Step: 30 * time.Second, Values: []float64{10, 20}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{150, 150, 300, 300}, w.demand); d != "" {
		t.Error(d)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	ref := Point{InstanceHours: 100, ViolatedShare: 1e-2, ActionsPerDay: 10}
	c := Curve{Points: []Point{
		{InstanceHours: 120, ViolatedShare: 1e-4, ActionsPerDay: 30}, {InstanceHours: 80, ViolatedShare: 1e-1, ActionsPerDay: 20},
	}}
	c.compare(ref)
	// Half way between the costs is half way between the logarithms: sqrt(1e-1 * 1e-4), and 1e-2 is a third of the way.
	if math.Abs(c.AtCost/math.Sqrt(1e-5)-1) > 1e-2 || math.Abs(c.AtCostRatio-c.AtCost/1e-2) > 1e-3 {
		t.Errorf("violated %g, ratio %g", c.AtCost, c.AtCostRatio)
	}
	if math.Abs(c.AtViolations-(80+40.0/3)/100) > 1e-3 || c.ActionsRatio != 2 || c.Points[0].InstanceHours != 80 {
		t.Errorf("%+v", c)
	}
	dear := Curve{Points: []Point{{InstanceHours: 101, ViolatedShare: 0.5}}}
	dear.compare(ref)
	if dear.AtCost != -1 || dear.AtCostRatio != -1 || dear.AtViolations != -1 || dear.ActionsRatio != -1 {
		t.Errorf("a policy that is too dear and too bad: %+v", dear)
	}
	// Beside an HPA that never acts no number of actions is a multiple.
	busy := Curve{Points: []Point{{InstanceHours: 90, ActionsPerDay: 50}}}
	busy.compare(Point{InstanceHours: 100})
	if busy.ActionsRatio != -1 {
		t.Errorf("%g times the actions of a policy without any", busy.ActionsRatio)
	}
}

func BenchmarkFourWeeksAt15Seconds(b *testing.B) {
	s := shop(28, time.Minute)
	for b.Loop() {
		if _, err := Run(context.Background(), s, Default()); err != nil {
			b.Fatal(err)
		}
	}
}
