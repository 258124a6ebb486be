package forecast_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// compressed is a service whose day lasts 120 steps of one second: 50 to 500 requests per second with Poisson noise.
func compressed(n int, seed uint64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]float64, n)
	for i := range out {
		rate := shape(i)
		out[i] = math.Max(0, math.Round(rate+math.Sqrt(rate)*rng.NormFloat64()))
	}
	return out
}

func shape(i int) float64 {
	phase := 2 * math.Pi * float64(i%120) / 120
	return 275 - 180*math.Cos(phase) + 45*math.Sin(2*phase)
}

func loaded(t *testing.T, cfg forecast.Config, values []float64) *forecast.Engine {
	t.Helper()
	e, err := forecast.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Load(forecast.Series{Start: epoch, Step: cfg.Step, Values: values}); err != nil {
		t.Fatal(err)
	}
	return e
}

func at(i int) time.Time { return epoch.Add(time.Duration(i) * time.Second) }

var second = forecast.Config{Step: time.Second, History: 960, Horizon: 15}

func TestForecastFollowsACompressedDay(t *testing.T) {
	t.Parallel()
	values := compressed(1440, 1)
	e := loaded(t, second, values[:960])
	var missed, reactive, covered, peaks, n float64
	for i := 960; i+15 <= len(values); i++ {
		f, err := e.Forecast(at(i), 15)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Start.Equal(at(i)) {
			t.Fatalf("starts %s, want %s", f.Start, at(i))
		}
		if i == 960 && !slices.Equal(f.Periods, []time.Duration{120 * time.Second}) {
			t.Errorf("periods %v, want the 120 s that every day lasts", f.Periods)
		}
		missed += math.Abs(f.Mean[14] - shape(i+14))
		reactive += math.Abs(values[i-1] - shape(i+14))
		if slices.Max(values[i:i+15]) <= f.MaxQuantile(0, 14, 0.95) {
			peaks++
		}
		if values[i+7] <= f.Quantile(7, 0.95) {
			covered++
		}
		n++
		if err := e.Observe(at(i), values[i]); err != nil {
			t.Fatal(err)
		}
	}
	if missed > 0.15*reactive {
		t.Errorf("15 s ahead the forecast misses by %.1f, repeating the last value by %.1f: want at most 15 %%", missed/n, reactive/n)
	}
	for what, share := range map[string]float64{"values": covered / n, "maxima": peaks / n} {
		if share < 0.91 || share > 0.99 {
			t.Errorf("%.3f of the %s lie under their 0.95 quantile", share, what)
		}
	}
	trust := e.Trust()
	if !trust.Earned || trust.Skill() < 0.5 {
		t.Errorf("trust %+v, want it earned with a skill above 0.5", trust)
	}
}

func TestMaxQuantileIsThatOfTheMaximum(t *testing.T) {
	t.Parallel()
	f, err := loaded(t, second, compressed(960, 2)).Forecast(at(960), 15)
	if err != nil {
		t.Fatal(err)
	}
	highest := 0.0
	for k := range 15 {
		highest = math.Max(highest, f.Quantile(k, 0.95))
		if got, want := f.MaxQuantile(k, k, 0.95), f.Quantile(k, 0.95); math.Abs(got-want) > 1e-9*want {
			t.Errorf("step %d alone: maximum %v, quantile %v", k, got, want)
		}
	}
	if got := f.MaxQuantile(0, 14, 0.95); got < highest {
		t.Errorf("maximum %v lies below the quantile of one of its steps, %v", got, highest)
	}
	for i, got := range f.MaxQuantiles(2, 9, f.Levels) {
		if want := f.MaxQuantile(2, 9, f.Levels[i]); got != want {
			t.Errorf("level %v asked for with others: maximum %v, alone %v", f.Levels[i], got, want)
		}
	}
	if !math.IsNaN(f.MaxQuantile(5, 4, 0.95)) {
		t.Error("an empty range has a maximum")
	}
}

func TestGapsAreNotZeroLoad(t *testing.T) {
	t.Parallel()
	values := compressed(960, 3)
	want, err := loaded(t, second, values).Forecast(at(960), 15)
	if err != nil {
		t.Fatal(err)
	}
	for i := 300; i < 330; i++ {
		values[i] = math.NaN()
	}
	e := loaded(t, second, values[:950])
	if err := e.Refit(); err != nil {
		t.Fatal(err)
	}
	if err := e.Observe(at(959), values[959]); err != nil { // ten seconds later: nine points are missing
		t.Fatal(err)
	}
	got, err := e.Forecast(at(960), 15)
	if err != nil {
		t.Fatal(err)
	}
	for k := range want.Mean {
		if math.Abs(got.Mean[k]-want.Mean[k]) > 0.15*want.Mean[k] {
			t.Errorf("step %d: %v with gaps, %v without", k, got.Mean[k], want.Mean[k])
		}
	}
}

func TestAbstainsWithAReason(t *testing.T) {
	t.Parallel()
	gaps := make([]float64, 100)
	for i := range gaps {
		gaps[i] = math.NaN()
	}
	half := compressed(100, 1)
	copy(half[10:], gaps[:60])
	for _, tc := range []struct {
		name   string
		values []float64
		now    int
		want   string
	}{
		{"nothing", nil, 0, "too little history: 0s, at least 16s of measurements are needed"},
		{"short", compressed(5, 1), 5, "too little history: 5s, at least 16s of measurements are needed"},
		{"only gaps", gaps, 100, "only missing values"},
		{"mostly gaps", half, 100, "more than half"},
		{"stale", compressed(960, 1), 1000, "nothing was measured for 40 steps of 1s, 15 are allowed"},
	} {
		_, err := loaded(t, second, tc.values).Forecast(at(tc.now), 15)
		var abstention *forecast.Abstention
		if !errors.As(err, &abstention) || !strings.Contains(abstention.Reason, tc.want) {
			t.Errorf("%s: %v, want an abstention because of %q", tc.name, err, tc.want)
		}
	}
}

func TestForecastFromLaterThanTheLastObservation(t *testing.T) {
	t.Parallel()
	values := compressed(960, 4)
	whole, err := loaded(t, second, values).Forecast(at(960), 15)
	if err != nil {
		t.Fatal(err)
	}
	late, err := loaded(t, second, values).Forecast(at(964).Add(-300*time.Millisecond), 11)
	if err != nil {
		t.Fatal(err)
	}
	if !late.Start.Equal(at(964)) {
		t.Fatalf("starts %s, want the first whole step after now", late.Start)
	}
	if !late.Origin.Equal(at(959)) || late.Last != values[959] {
		t.Errorf("rests on %v at %s, want the last observation", late.Last, late.Origin)
	}
	if diff := cmp.Diff(whole.Mean[4:], late.Mean); diff != "" {
		t.Errorf("the same steps differ (-from the last observation +later):\n%s", diff)
	}
}

func TestObserveReplacesALatePoint(t *testing.T) {
	t.Parallel()
	values := compressed(960, 5)
	want := loaded(t, second, values)
	bad := slices.Clone(values)
	bad[700] = 90000
	got := loaded(t, second, bad)
	if err := got.Observe(at(700), values[700]); err != nil {
		t.Fatal(err)
	}
	a, _ := want.Forecast(at(960), 15)
	b, _ := got.Forecast(at(960), 15)
	if diff := cmp.Diff(a.Mean, b.Mean); diff != "" {
		t.Errorf("forecast differs:\n%s", diff)
	}
	if err := got.Observe(epoch.Add(-time.Hour), 1); err == nil {
		t.Error("a point before the history was accepted")
	}
}

func TestSavedStateContinuesTheSame(t *testing.T) {
	t.Parallel()
	values := compressed(1300, 6)
	e := loaded(t, second, values[:960])
	for i := 960; i < 1290; i++ {
		if _, err := e.Forecast(at(i), 15); err != nil {
			t.Fatal(err)
		}
		if err := e.Observe(at(i), values[i]); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			if err := e.Refit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	saved, err := e.Save()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := forecast.Restore(second, saved)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Trust(), restored.Trust()); diff != "" {
		t.Errorf("trust differs:\n%s", diff)
	}
	for i := 1290; i < 1300; i++ {
		a, errA := e.Forecast(at(i), 15)
		b, errB := restored.Forecast(at(i), 15)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if diff := cmp.Diff([][]float64{a.Mean, a.Quantiles[3]}, [][]float64{b.Mean, b.Quantiles[3]}); diff != "" {
			t.Fatalf("forecast from %d differs (-saved +restored):\n%s", i, diff)
		}
		for _, engine := range []*forecast.Engine{e, restored} {
			if err := engine.Observe(at(i), values[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := forecast.Restore(second, saved[:len(saved)/2]); err == nil {
		t.Error("half a state was restored")
	}
	if _, err := forecast.Restore(forecast.Config{Step: time.Minute}, saved); err == nil {
		t.Error("a state of another step was restored")
	}
}

func TestCoverageRecoversAfterTheNoiseGrows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	e := loaded(t, second, compressed(960, 7))
	covered, n := 0.0, 0.0
	for i := 960; i < 4800; i++ {
		f, err := e.Forecast(at(i), 15)
		if err != nil {
			t.Fatal(err)
		}
		v := math.Max(0, shape(i)+60*rng.NormFloat64())
		if i > 3000 {
			n++
			if v <= f.Quantile(0, 0.95) {
				covered++
			}
		}
		if err := e.Observe(at(i), v); err != nil {
			t.Fatal(err)
		}
	}
	if covered/n < 0.92 || covered/n > 0.98 {
		t.Errorf("%.3f of the values are covered long after their noise grew four times", covered/n)
	}
}

func TestTrustIsLostWhenDemandLeavesItsPattern(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(8, 8))
	e := loaded(t, second, compressed(960, 8))
	level := 300.0
	for i := 960; i < 960+400; i++ {
		if _, err := e.Forecast(at(i), 15); err != nil {
			t.Fatal(err)
		}
		level = math.Max(100, level*math.Exp(0.02+0.01*rng.NormFloat64())) // grows for ever, no day left
		if level > 1e6 {
			level = 300
		}
		if err := e.Observe(at(i), level); err != nil {
			t.Fatal(err)
		}
	}
	if trust := e.Trust(); trust.Earned {
		t.Errorf("still trusted: %+v", trust)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	values := compressed(1200, 9)
	e := loaded(t, second, values[:960])
	var group sync.WaitGroup
	group.Go(func() {
		for i := 960; i < 1200; i++ {
			if err := e.Observe(at(i), values[i]); err != nil {
				t.Error(err)
			}
		}
	})
	group.Go(func() {
		for range 5 {
			if err := e.Refit(); err != nil {
				t.Error(err)
			}
		}
	})
	group.Go(func() {
		for range 50 {
			if _, err := e.Forecast(at(960), 15); err != nil {
				t.Error(err)
			}
			e.Trust()
		}
	})
	group.Wait()
}

func TestConfigErrorsAreJoined(t *testing.T) {
	t.Parallel()
	_, err := forecast.New(forecast.Config{Step: -1, History: 3, Horizon: -2, Levels: []float64{0.9, 0.5, 1.5}, RefitEvery: -1, MaxStale: -1})
	for _, want := range []string{"step", "history 3", "horizon -2", "levels", "level 1.5", "refit every -1", "max stale -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not mention %s", err, want)
		}
	}
}

func TestPeaksOfFinerPoints(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	got := forecast.Series{Start: epoch, Step: time.Minute, Values: []float64{nan, 2, 1, nan, math.Inf(1), nan, -5}}.Peaks(3)
	want := forecast.Series{Start: epoch, Step: 3 * time.Minute, Values: []float64{2, nan, -5}}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestPeaksCanBeFed: a minute of calm hides a second of load; the quantiles of peaks cover it.
func TestPeaksCanBeFed(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(21, 21))
	fine := forecast.Series{Start: epoch, Step: 5 * time.Second}
	for i := range 120 * 10 * 12 { // a cycle of 120 minutes, ten of them
		fine.Values = append(fine.Values, shape(i/12)*(0.7+0.6*rng.Float64()))
	}
	peaks := fine.Peaks(12)
	e := loaded(t, forecast.Config{Step: time.Minute, History: 1080, Horizon: 10}, peaks.Values[:1080])
	covered, n := 0.0, 0.0
	for i := 1080; i+10 <= len(peaks.Values); i++ {
		f, err := e.Forecast(peaks.Time(i), 10)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if slices.Max(fine.Values[12*i:12*(i+10)]) <= f.MaxQuantile(0, 9, 0.95) {
			covered++
		}
		if err := e.Observe(peaks.Time(i), peaks.Values[i]); err != nil {
			t.Fatal(err)
		}
	}
	if covered/n < 0.9 {
		t.Errorf("%.2f of the peaks of five seconds lie under the quantile of their maximum", covered/n)
	}
}
