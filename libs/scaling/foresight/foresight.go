// Package foresight is how demand is fed to the forecast, and how what is foreseen reaches the decision. The predictor and
// the backtest both go through it: what was backtested is what runs.
//
//	rates --> peaks of steps --> forecast.Engine --> quantiles of the highest demand in a window --> scaling.Forecast
//
// Scaling needs the peak within a step, not its mean, and steps of minutes let a history of weeks, with every daily cycle in
// it, be fitted in milliseconds.
package foresight

import (
	"math"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/scaling"
)

const (
	// points is how many steps a history is cut into: two weeks make steps of five minutes.
	points = 4032
	// leastHorizon and mostHorizon bound for how many steps the forecast is calibrated.
	leastHorizon = 12
	mostHorizon  = 2000
)

var levels = [...]float64{0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.995}

// Step is how long a step of the forecast is, a multiple of the interval at which demand is decided on.
func Step(interval, history time.Duration) time.Duration {
	if interval <= 0 {
		return history / points
	}
	return interval * time.Duration(max(1, math.Ceil(float64(history)/float64(interval)/points)))
}

// Horizon is for how many steps a forecast must be calibrated to serve a decision that looks so far ahead.
func Horizon(hold, step time.Duration) int {
	return min(max(int(hold/step)+2, leastHorizon), mostHorizon)
}

// Peaks returns the highest of each n successive values; a group without any measured value is missing.
func Peaks(values []float64, n int) []float64 {
	out := make([]float64, 0, (len(values)+n-1)/n)
	for i := 0; i < len(values); i += n {
		peak := math.NaN()
		for _, v := range values[i:min(i+n, len(values))] {
			if !(v <= peak) && !math.IsNaN(v) {
				peak = v
			}
		}
		out = append(out, peak)
	}
	return out
}

// Levels are the quantiles handed to a decision, which interpolates between them and extends the tail.
func Levels() []float64 { return slices.Clone(levels[:]) }

// Ahead returns the quantiles of the highest demand from one step of a forecast to another, both included, one per level; nil
// when the last is before the first of the forecast, or when there is none.
func Ahead(f forecast.Forecast, from, last int) []float64 {
	if last < 0 || f.Horizon() == 0 {
		return nil
	}
	return f.MaxQuantiles(min(from, f.Horizon()-1), last, levels[:])
}

// formerShare is how much the forecast of a step before counts beside the newest: models follow the last few values, and what
// they make of noise differs from step to step.
const formerShare = 0.3

// Blend hears the former forecast of a window beside the newest; nil is no forecast.
func Blend(newest, former []float64) []scaling.Quantile {
	if newest == nil {
		return nil
	}
	out := make([]scaling.Quantile, len(newest))
	for i, v := range newest {
		if former != nil {
			v += formerShare * (former[i] - v)
		}
		out[i] = scaling.Quantile{Level: levels[i], PerSecond: v}
	}
	return out
}

// Window returns the quantiles of the highest demand from one step of a forecast to another; nil when the last is before the
// first of the forecast. A former forecast, made one step earlier, is heard too; any other one is not.
func Window(f, former forecast.Forecast, from, last int) []scaling.Quantile {
	if former.Horizon() == 0 || !former.Start.Add(f.Step).Equal(f.Start) {
		return Blend(Ahead(f, from, last), nil)
	}
	return Blend(Ahead(f, from, last), Ahead(former, from+1, last+1))
}

// Surprise is what the demand differs from the median expected of the running step's peak; 0 where one of them is not known. Where a
// rise was expected, demand that is still what the peak of the step before was is no calm: the rise may be yet to come.
func Surprise(rate, expected, before float64) float64 {
	switch s := rate - expected; {
	case math.IsNaN(s):
		return 0
	case s < 0 && before < expected:
		return min(rate-before, 0)
	default:
		return s
	}
}
