package forecast

import (
	"math"
	"slices"
	"time"
)

// Forecast is what an Engine expects for Start, Start+Step, ... in the unit of the observations.
type Forecast struct {
	Start  time.Time
	Step   time.Duration
	Origin time.Time // the last observation it rests on
	// Mean is the central forecast per step.
	Mean []float64
	// Levels are the configured quantile levels, ascending; Quantiles[i][k] belongs to Levels[i] and step k.
	Levels    []float64
	Quantiles [][]float64
	// Method names the models that carry the most weight, Periods the cycles found in the history.
	Method  string
	Periods []time.Duration

	spread spread
}

// spread holds what past forecasts missed by, as whole paths, so that the dependence between steps survives.
type spread struct {
	paths  [][]float64 // [path][step], standardised errors; shared, never written
	steps  []int       // which step of a path belongs to each forecast step
	sorted [][]float64 // [step] ascending
	scale  []float64   // per step, in the unit of the series
	floor  float64     // lowest possible value
}

func (s spread) clamp(v float64) float64 { return math.Max(v, s.floor) }

// Horizon is the number of steps forecast.
func (f Forecast) Horizon() int { return len(f.Mean) }

// Quantile returns the level-quantile of step k (0-based); level is clipped into (0, 1). It is NaN outside the horizon.
func (f Forecast) Quantile(k int, level float64) float64 {
	if k < 0 || k >= len(f.Mean) || math.IsNaN(level) {
		return math.NaN()
	}
	return f.spread.clamp(f.Mean[k] + f.spread.scale[k]*quantileSorted(f.spread.sorted[k], level))
}

// MaxQuantile returns the level-quantile of the highest value over the steps from..to, both included and clipped into the
// horizon. It is the quantile of the maximum of joint paths, not the maximum of quantiles: errors of neighbouring steps
// belong together, and the peak of many uncertain steps lies above each single quantile. It is NaN for an empty range.
func (f Forecast) MaxQuantile(from, to int, level float64) float64 {
	from, to = max(from, 0), min(to, len(f.Mean)-1)
	if from > to || math.IsNaN(level) {
		return math.NaN()
	}
	if len(f.spread.paths) == 0 {
		return slices.Max(f.Mean[from : to+1])
	}
	peaks := make([]float64, len(f.spread.paths))
	for i, path := range f.spread.paths {
		peak := math.Inf(-1)
		for k := from; k <= to; k++ {
			peak = math.Max(peak, f.Mean[k]+f.spread.scale[k]*path[f.spread.steps[k]])
		}
		peaks[i] = f.spread.clamp(peak)
	}
	slices.Sort(peaks)
	return quantileSorted(peaks, level)
}

// quantileSorted interpolates with the (n+1) rule, the finite-sample correction of split conformal prediction
// (Vovk, Gammerman, Shafer 2005): with n past errors the level-quantile sits at rank level*(n+1).
func quantileSorted(sorted []float64, level float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	rank := level*float64(n+1) - 1
	if rank <= 0 {
		return sorted[0]
	}
	if rank >= float64(n-1) {
		return sorted[n-1]
	}
	lo := int(rank)
	return sorted[lo] + (rank-float64(lo))*(sorted[lo+1]-sorted[lo])
}
