package backtest

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/foresight"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// outlook holds the forecasts of a whole series, each made with nothing but what came before it. They do not depend on
// any policy, so one walk serves every run of a sweep.
//
// Finer series are forecast as the peaks of five minutes: scaling needs the peak, and two weeks of history then hold every
// daily cycle in a number of points that can be fitted in milliseconds.
type outlook struct {
	series forecast.Series // at the step of the forecast
	tick   time.Duration
	repeat int  // ticks per step
	from   int  // first step that is forecast: half of the warm-up is left for what learns from forecasts
	scored int  // first step after the warm-up
	whole  bool // a step is known at its first tick, because the source is no finer
	steps  []vision
	rates  []float64 // per tick
	lead   int       // ticks from the running one to the last of the window
	hold   int       // the same
	score  quality
	// pinball is the forecast's loss at the end, of a naive one's.
	pinball float64
}

// forecastStep is the coarsest step that finer series are gathered to.
const forecastStep = 5 * time.Minute

// vision is what was foreseen when a step began, for windows that end in it or in later ones.
type vision struct {
	lead    [2][]scaling.Quantile // of windows reaching whole and whole+1 steps beyond the running one
	hold    [2][]scaling.Quantile
	running float64 // median expected of the running step; NaN when it is known
	mean    float64
	earned  bool
	why     string
	abstain string
}

func newOutlook(w world, lead, hold time.Duration) *outlook {
	f := &outlook{
		series: w.series, tick: w.config.Tick, repeat: w.repeat, whole: true, rates: make([]float64, len(w.demand)),
		lead: last(lead, w.config.Tick), hold: last(hold, w.config.Tick),
	}
	for i, v := range w.demand {
		f.rates[i] = v / w.config.Tick.Seconds()
	}
	if n := int(forecastStep / w.series.Step); n > 1 {
		f.series = forecast.Series{Start: w.series.Start, Step: w.series.Step * time.Duration(n), Values: foresight.Peaks(w.series.Values, n)}
		f.repeat, f.whole = n*w.repeat, false
	}
	f.steps = make([]vision, (len(w.demand)+f.repeat-1)/f.repeat)
	f.scored = min(int(w.config.Warmup/f.series.Step), len(f.series.Values))
	f.from = f.scored / 2
	return f
}

// last is the last tick of a window that begins with the running one: what is ordered now must carry the demand until an
// instance ordered at the next decision is ready, and no longer.
func last(window, tick time.Duration) int { return max(0, int((window+tick-1)/tick)-1) }

// foresee walks the forecast engine over the series of a world.
func foresee(ctx context.Context, w world, lead, hold time.Duration) (*outlook, error) {
	f := newOutlook(w, lead, hold)
	return f, walk(ctx, f)
}

// walk fills foresights of one and the same series that look differently far: what is forecast is the same for all.
func walk(ctx context.Context, all ...*outlook) error {
	f, horizon := all[0], 0
	for _, other := range all {
		horizon = max(horizon, foresight.Horizon(time.Duration(other.hold)*other.tick, other.series.Step))
	}
	day := int(24 * time.Hour / f.series.Step)
	engine, err := forecast.New(forecast.Config{Step: f.series.Step, Horizon: horizon, RefitEvery: max(day, 50)})
	if err != nil {
		return fmt.Errorf("start forecast: %w", err)
	}
	past := f.series
	past.Values = past.Values[:f.from]
	if err := engine.Load(past); err != nil {
		return err
	}
	for _, f := range all {
		for i := range f.steps[:f.from] {
			f.steps[i].abstain = "too little has been seen"
		}
	}
	var former forecast.Forecast
	for i := f.from; i < len(f.steps); i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.advance(engine, i); err != nil {
			return fmt.Errorf("observe step %d: %w", i, err)
		}
		seen, err := engine.Forecast(f.series.Time(f.first(i)), horizon)
		now := sight{Forecast: seen, former: former, trust: engine.Trust(), windows: map[int][]scaling.Quantile{}}
		for _, f := range all {
			if err != nil {
				f.steps[i] = vision{abstain: err.Error()}
				continue
			}
			f.steps[i] = f.look(now, i)
		}
		former = seen
	}
	if t := engine.Trust(); t.ReactivePinball > 0 {
		for _, f := range all {
			f.pinball = t.Pinball / t.ReactivePinball
		}
	}
	return nil
}

// first is the first step that is not known while step i runs.
func (f *outlook) first(i int) int {
	if f.whole {
		return i + 1
	}
	return i
}

// advance tells the engine what is known once step i runs.
func (f *outlook) advance(engine *forecast.Engine, i int) error {
	if last := f.first(i) - 1; last >= f.from {
		if err := engine.Observe(f.series.Time(last), f.series.Values[last]); err != nil {
			return err
		}
	}
	if engine.NeedsRefit() {
		// An abstention shows again, with its reason, when the forecast is asked for.
		_ = engine.Refit()
	}
	return nil
}

// sight is one forecast, with the windows already asked of it: the quantile of a maximum is dear.
type sight struct {
	forecast.Forecast
	former  forecast.Forecast // the one before it; nothing when there was none
	trust   forecast.Trust
	windows map[int][]scaling.Quantile // by last step
}

func (s sight) window(last int) []scaling.Quantile {
	q, ok := s.windows[last]
	if !ok {
		q = foresight.Window(s.Forecast, s.former, last)
		s.windows[last] = q
	}
	return q
}

// look keeps what was foreseen when step i runs.
func (f *outlook) look(seen sight, i int) vision {
	first := f.first(i)
	if i >= f.scored {
		f.score.add(f.series.Values, first, seen.Forecast)
	}
	v := vision{earned: seen.trust.Earned, why: seen.trust.Reason, running: math.NaN()}
	leadSteps, holdSteps := f.lead/f.repeat, f.hold/f.repeat
	if !f.whole {
		v.running = seen.Quantile(0, 0.5)
	}
	for more := range 2 {
		v.lead[more] = seen.window(leadSteps + more - (first - i))
		v.hold[more] = seen.window(holdSteps + more - (first - i))
	}
	v.mean = seen.Mean[min(leadSteps, len(seen.Mean)-1)]
	return v
}

// Forecast implements policy.Forecaster.
func (f *outlook) Forecast(o *simulate.Observation, _, _ time.Duration) scaling.Forecast {
	v := f.steps[o.Tick/f.repeat]
	if v.abstain != "" {
		return scaling.Forecast{Reason: v.abstain}
	}
	return scaling.Forecast{
		Issued: o.Now, Earned: v.earned, Reason: v.why, Mean: v.mean,
		Lead: f.window(v, v.lead, o, f.lead), Hold: f.window(v, v.hold, o, f.hold),
	}
}

// window picks the window that ends the given ticks ahead. One that ends within a known step holds its rate; a rate now that
// differs from what was expected of the running step moves what is expected after it.
func (f *outlook) window(v vision, of [2][]scaling.Quantile, o *simulate.Observation, ahead int) []scaling.Quantile {
	q := of[(o.Tick%f.repeat+ahead)/f.repeat-ahead/f.repeat]
	rate := o.Rate()
	if q == nil && !math.IsNaN(rate) {
		return []scaling.Quantile{{Level: 0.5, PerSecond: rate}}
	}
	return foresight.Follow(q, rate, v.running)
}
