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

// levels are the quantiles handed to a decision, which interpolates between them and extends the tail.
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

// Window returns the quantiles of the highest demand from the first step of a forecast to the last one given; nil when that
// is before the first.
func Window(f forecast.Forecast, last int) []scaling.Quantile {
	if last < 0 {
		return nil
	}
	out := make([]scaling.Quantile, len(levels))
	for i, v := range f.MaxQuantiles(0, last, levels[:]) {
		out[i] = scaling.Quantile{Level: levels[i], PerSecond: v}
	}
	return out
}

// Raise lifts quantiles by what the demand exceeds the median expected of the step that is running: a surprise now makes
// what follows higher than was foreseen. A demand below it, or a NaN, changes nothing.
func Raise(q []scaling.Quantile, rate, expected float64) []scaling.Quantile {
	surprise := rate - expected
	if !(surprise > 0) {
		return q
	}
	raised := make([]scaling.Quantile, len(q))
	for i := range q {
		raised[i] = scaling.Quantile{Level: q[i].Level, PerSecond: q[i].PerSecond + surprise}
	}
	return raised
}
