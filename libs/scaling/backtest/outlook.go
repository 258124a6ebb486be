package backtest

import (
	"context"
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/foresight"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// outlook is a chronicle as one world sees it: which windows its start-up time asks for, at which ticks. One serves every run
// of a sweep.
//
// Finer series are forecast as the peaks of five minutes: scaling needs the peak, and two weeks of history then hold every
// daily cycle in a number of points that can be fitted in milliseconds.
type outlook struct {
	journey journey
	tick    time.Duration
	repeat  int       // ticks per step
	rates   []float64 // per tick
	lead    int       // ticks from the running one to the last of the window
	hold    int       // the same
	// What read takes from a chronicle.
	steps   []vision
	score   quality
	pinball float64
}

// forecastStep is the coarsest step that finer series are gathered to.
const forecastStep = 5 * time.Minute

// vision is what was foreseen when a step began, for the windows of one start-up time.
type vision struct {
	lead    [2][]scaling.Quantile // of windows reaching whole and whole+1 steps beyond the running one
	arrival [2][]scaling.Quantile // of the last step of those alone, in which an instance ordered now is ready
	hold    [2][]scaling.Quantile
	running float64 // median expected of the running step; NaN when it is known
	before  float64 // peak of the step before
	away    float64 // share of the running step's demand that known events keep away
	mean    float64
	earned  bool
	why     string
	abstain string
}

func newOutlook(w world, lead, hold time.Duration) *outlook {
	f := &outlook{
		journey: journey{Series: w.series, Whole: true, Known: w.known}, tick: w.config.Tick, repeat: w.repeat, rates: make([]float64, len(w.demand)),
		lead: last(lead, w.config.Tick), hold: last(hold, w.config.Tick),
	}
	for i, v := range w.demand {
		f.rates[i] = v / w.config.Tick.Seconds()
	}
	j := &f.journey
	if n := int(forecastStep / w.series.Step); n > 1 {
		j.Series = forecast.Series{Start: w.series.Start, Step: w.series.Step * time.Duration(n), Values: foresight.Peaks(w.series.Values, n)}
		j.Whole, f.repeat = false, n*w.repeat
	}
	j.Scored = min(int(w.config.Warmup/j.Series.Step), len(j.Series.Values))
	j.From = j.Scored / 2 // half of the warm-up is left for what learns from forecasts
	j.Horizon = foresight.Horizon(time.Duration(f.hold)*f.tick, j.Series.Step)
	return f
}

// last is the last tick of a window that begins with the running one: what is ordered now must carry the demand until an
// instance ordered at the next decision is ready, and no longer.
func last(window, tick time.Duration) int { return max(0, int((window+tick-1)/tick)-1) }

// foresee fills outlooks on one and the same series that look differently far.
func (s shelf) foresee(ctx context.Context, all ...*outlook) error {
	j := all[0].journey
	for _, f := range all {
		j.Horizon = max(j.Horizon, f.journey.Horizon)
	}
	c, err := s.chronicle(ctx, j)
	if err != nil {
		return err
	}
	for _, f := range all {
		f.read(c)
	}
	return nil
}

// read takes from a chronicle what this outlook may be asked for.
func (f *outlook) read(c *chronicle) {
	f.score, f.pinball = c.Errors, c.Pinball
	f.steps = make([]vision, len(c.Steps))
	former := sight{}
	for i, now := range c.Steps {
		f.steps[i] = f.look(now, former, i)
		if i > 0 {
			f.steps[i].before = f.journey.Series.Values[i-1]
		}
		former = now
	}
}

// look picks the windows asked for while step i runs.
func (f *outlook) look(now, former sight, i int) vision {
	if now.Abstained != "" {
		return vision{abstain: now.Abstained, away: now.Away}
	}
	v := vision{away: now.Away, earned: now.Earned, why: now.Reason, running: now.Running}
	window := func(of func(sight, int) []float64, steps int) []scaling.Quantile {
		last := steps - (f.journey.first(i) - i)
		return foresight.Blend(of(now, last), of(former, last+1))
	}
	leadSteps, holdSteps := f.lead/f.repeat, f.hold/f.repeat
	for more := range 2 {
		v.lead[more], v.hold[more] = window(sight.peaks, leadSteps+more), window(sight.peaks, holdSteps+more)
		v.arrival[more] = window(sight.alone, leadSteps+more)
	}
	v.mean = now.Mean[min(leadSteps, len(now.Mean)-1)]
	return v
}

// Forecast implements policy.Forecaster.
func (f *outlook) Forecast(o *simulate.Observation, _, _ time.Duration) scaling.Forecast {
	v := f.steps[o.Tick/f.repeat]
	if v.abstain != "" {
		return scaling.Forecast{Away: v.away, Reason: v.abstain}
	}
	return scaling.Forecast{
		Issued: o.Now, Earned: v.earned, Reason: v.why, Mean: v.mean, Away: v.away,
		Lead: f.window(v.lead, o, f.lead), Arrival: f.window(v.arrival, o, f.lead), Hold: f.window(v.hold, o, f.hold),
		Surprise: foresight.Surprise(o.Rate(), v.running, v.before),
	}
}

// window picks the window that ends the given ticks ahead. One that ends within a known step holds its rate.
func (f *outlook) window(of [2][]scaling.Quantile, o *simulate.Observation, ahead int) []scaling.Quantile {
	q := of[(o.Tick%f.repeat+ahead)/f.repeat-ahead/f.repeat]
	rate := o.Rate()
	if q == nil && !math.IsNaN(rate) {
		return []scaling.Quantile{{Level: 0.5, PerSecond: rate}}
	}
	return q
}
