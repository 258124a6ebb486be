package forecast_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

// TestNoInputBreaksTheForecast feeds hostile histories. FORESHADOW_FORECAST_CASES=1000000 runs the long version.
func TestNoInputBreaksTheForecast(t *testing.T) {
	t.Parallel()
	cases := 2000
	if text := os.Getenv("FORESHADOW_FORECAST_CASES"); text != "" {
		var err error
		if cases, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	issued := 0
	for seed := range uint64(cases) {
		if tortured(t, seed) {
			issued++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if issued < cases/4 {
		t.Errorf("only %d of %d hostile histories led to a forecast: the test no longer reaches the models", issued, cases)
	}
}

// size is how much of a case there is.
type size struct{ history, points, horizon, rounds int }

// tortured runs one hostile history through an engine and says whether any forecast came out.
func tortured(t *testing.T, seed uint64) (issued bool) {
	rng := rand.New(rand.NewPCG(seed, 42))
	// Most faults need no long history to show, and a short one is many times cheaper: every twentieth is long.
	s := size{history: 32 + rng.IntN(32), points: rng.IntN(48), horizon: 1 + rng.IntN(4), rounds: 2}
	if seed%20 == 0 {
		s = size{history: 32 + rng.IntN(200), points: rng.IntN(300), horizon: 1 + rng.IntN(30), rounds: 8}
	}
	cfg := forecast.Config{Step: time.Minute, History: s.history, Horizon: s.horizon, MaxStale: 1000}
	if rng.IntN(4) == 0 {
		cfg.Calendar = anyCalendar(rng)
	}
	e, err := forecast.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	values := hostile(rng, s.points)
	if err := e.Load(forecast.Series{Start: epoch, Step: cfg.Step, Values: values}); err != nil {
		t.Fatal(err)
	}
	now := epoch.Add(time.Duration(len(values)) * cfg.Step)
	negative := func(v float64) bool { return v < 0 }
	demand := !slices.ContainsFunc(values, negative)
	for _, v := range hostile(rng, s.rounds) {
		f, err := e.Forecast(now, 1+rng.IntN(2*s.horizon))
		var abstention *forecast.Abstention
		switch {
		case err == nil:
			issued = true
			valid(t, f)
			if demand && (slices.ContainsFunc(f.Mean, negative) || slices.ContainsFunc(f.Quantiles[0], negative)) {
				t.Errorf("mean %v, lowest quantile %v of what was never negative", f.Mean, f.Quantiles[0])
			}
		case !errors.As(err, &abstention) || abstention.Reason == "":
			t.Errorf("error %v, want an abstention with a reason", err)
		}
		if err := e.Observe(now, v); err != nil {
			t.Error(err)
		}
		demand = demand && !negative(v)
		now = now.Add(time.Duration(1+rng.IntN(3)) * cfg.Step)
		e.Trust()
	}
	return issued
}

// anyCalendar puts events of every kind in and around the history.
func anyCalendar(rng *rand.Rand) calendar.Calendar {
	c := calendar.Calendar{TimeZone: []string{"", "Europe/Berlin", "Asia/Kathmandu"}[rng.IntN(3)]}
	for i := range rng.IntN(6) {
		start := epoch.Add(time.Duration(rng.IntN(600)-100) * time.Minute)
		e := calendar.Event{
			Name: strconv.Itoa(i % 3), Start: start.Format("2006-01-02 15:04"),
			End:    start.Add(time.Duration(1+rng.IntN(90)) * time.Minute).Format("2006-01-02 15:04"),
			Repeat: []string{"", "", "daily", "weekly", "yearly"}[rng.IntN(5)],
		}
		switch rng.IntN(5) {
		case 0:
			e.Multiplier = new(math.Pow(10, 6*rng.Float64()-3))
		case 1:
			e.Like = time.Weekday(rng.IntN(7)).String()
		case 2:
			e.Exclude = true
		case 3:
			e.Multiplier = new(0.0)
		}
		c.Events = append(c.Events, e)
	}
	return c
}

func valid(t *testing.T, f forecast.Forecast) {
	t.Helper()
	if len(f.Mean) == 0 || len(f.Quantiles) != len(f.Levels) || f.Method == "" {
		t.Errorf("incomplete forecast %+v", f)
	}
	for k, m := range f.Mean {
		last := math.Inf(-1)
		for i := range f.Levels {
			q := f.Quantiles[i][k]
			if math.IsNaN(q) || math.IsInf(q, 0) || q < last {
				t.Errorf("step %d: quantile %v of level %v after %v", k, q, f.Levels[i], last)
			}
			last = q
		}
		if math.IsNaN(m) || math.IsInf(m, 0) {
			t.Errorf("step %d: mean %v", k, m)
		}
	}
	if q := f.MaxQuantile(0, len(f.Mean)-1, 0.95); math.IsNaN(q) || math.IsInf(q, 0) {
		t.Errorf("maximum %v", q)
	}
}

// hostile draws a history of one of the kinds that break forecasters.
func hostile(rng *rand.Rand, n int) []float64 {
	kind, period, scale := rng.IntN(10), 2+rng.IntN(40), math.Pow(10, float64(rng.IntN(30)-15))
	out := make([]float64, n)
	for i := range out {
		seasonal := 2 + math.Sin(2*math.Pi*float64(i)/float64(period))
		switch kind {
		case 0:
			out[i] = 0
		case 1:
			out[i] = scale
		case 2:
			out[i] = -scale * rng.ExpFloat64()
		case 3:
			out[i] = scale * seasonal
		case 4:
			out[i] = scale * seasonal * math.Exp(3*rng.NormFloat64())
		case 5:
			if rng.IntN(20) == 0 {
				out[i] = scale * rng.Float64()
			}
		case 6:
			out[i] = scale * math.Exp(float64(i)/3)
		case 7:
			out[i] = math.Float64frombits(rng.Uint64())
		case 8:
			out[i] = scale * (seasonal + float64(i/50%2)*100)
		default:
			out[i] = 1e99 * rng.NormFloat64()
		}
		switch rng.IntN(12) {
		case 0:
			out[i] = math.NaN()
		case 1:
			if rng.IntN(10) == 0 {
				out[i] = []float64{math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 5e-324}[rng.IntN(5)]
			}
		}
	}
	return out
}
