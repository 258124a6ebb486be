package backtest

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
	"github.com/foreshadow/foreshadow/libs/scaling/foresight"
)

// journey is what a walk of the forecast engine over a series depends on, and all that it depends on.
type journey struct {
	Series  forecast.Series   // at the step of the forecast
	From    int               // first step that is forecast; those before it are loaded
	Scored  int               // first step whose forecast is scored
	Whole   bool              // a step is known at its first tick, because the source is no finer
	Horizon int               // steps forecast
	Known   calendar.Calendar // beforehand
}

// chronicle is what was foreseen at every step of a series, each with nothing but what came before it. No policy, fleet or
// start-up time below its horizon changes it, so that one serves them all.
type chronicle struct {
	Steps  []sight
	Errors quality
	// Pinball is the forecast's loss at the end, of a naive one's; 0 when there was none to score.
	Pinball float64
}

// sight is what was foreseen when a step began.
type sight struct {
	Abstained string  // why nothing was foreseen; the rest but Away is then empty
	Away      float64 // share of the running step's demand that known events keep away
	Running   float64 // median expected of the running step; NaN when it is known
	Mean      []float64
	// Peaks are the quantiles (foresight.Levels) of the highest demand from the first step foreseen to each later one, Alone those
	// of each step.
	Peaks  [][]float64
	Alone  [][]float64
	Earned bool
	Reason string
}

// walk lets the forecast engine go over a series.
func (j journey) walk(ctx context.Context) (*chronicle, error) {
	day := int(24 * time.Hour / j.Series.Step)
	engine, err := forecast.New(forecast.Config{Step: j.Series.Step, Horizon: j.Horizon, RefitEvery: max(day, 50), Calendar: j.Known})
	if err != nil {
		return nil, fmt.Errorf("start forecast: %w", err)
	}
	past := j.Series
	past.Values = past.Values[:j.From]
	if err := engine.Load(past); err != nil {
		return nil, err
	}
	out := &chronicle{Steps: make([]sight, len(j.Series.Values))}
	for i := range out.Steps {
		if i < j.From {
			out.Steps[i].Abstained = "too little has been seen"
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := j.advance(engine, i); err != nil {
			return nil, fmt.Errorf("observe step %d: %w", i, err)
		}
		out.Steps[i].Away = engine.Away(j.Series.Time(i))
		seen, err := engine.Forecast(j.Series.Time(j.first(i)), j.Horizon)
		if err != nil {
			out.Steps[i].Abstained = err.Error()
			continue
		}
		if i >= j.Scored {
			out.Errors.add(j.Series.Values, j.first(i), seen)
		}
		out.Steps[i].look(j, seen, engine.Trust())
	}
	if t := engine.Trust(); t.ReactivePinball > 0 {
		out.Pinball = t.Pinball / t.ReactivePinball
	}
	return out, nil
}

// first is the first step that is not known while step i runs.
func (j journey) first(i int) int {
	if j.Whole {
		return i + 1
	}
	return i
}

// advance tells the engine what is known once step i runs.
func (j journey) advance(engine *forecast.Engine, i int) error {
	if last := j.first(i) - 1; last >= j.From {
		if err := engine.Observe(j.Series.Time(last), j.Series.Values[last]); err != nil {
			return err
		}
	}
	if engine.NeedsRefit() {
		// An abstention shows again, with its reason, when the forecast is asked for.
		_ = engine.Refit()
	}
	return nil
}

// look keeps of a forecast what policies may ask for.
func (s *sight) look(j journey, seen forecast.Forecast, trust forecast.Trust) {
	s.Running, s.Mean, s.Earned, s.Reason = math.NaN(), seen.Mean, trust.Earned, trust.Reason
	if !j.Whole {
		s.Running = seen.Quantile(0, 0.5)
	}
	for last := range seen.Mean {
		s.Peaks = append(s.Peaks, foresight.Ahead(seen, 0, last))
		s.Alone = append(s.Alone, foresight.Ahead(seen, last, last))
	}
}

// peaks are the quantiles of the highest demand up to a step, the last foreseen one at most; nil when that is known.
func (s sight) peaks(last int) []float64 { return upTo(s.Peaks, last) }

// alone are those of the step alone.
func (s sight) alone(step int) []float64 { return upTo(s.Alone, step) }

func upTo(steps [][]float64, i int) []float64 {
	if i < 0 || len(steps) == 0 {
		return nil
	}
	return steps[min(i, len(steps)-1)]
}
