package forecast

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Forecast is what an Engine expects for Start, Start+Step, ... in the unit of the observations.
type Forecast struct {
	Start  time.Time
	Step   time.Duration
	Origin time.Time // the last observation it rests on
	Last   float64   // and its value; NaN when that is no longer kept
	// Mean is the central forecast per step.
	Mean []float64
	// Levels are the configured quantile levels, ascending; Quantiles[i][k] belongs to Levels[i] and step k.
	Levels    []float64
	Quantiles [][]float64
	// Method names the models that carry the most weight, Periods the cycles found in the history.
	Method  string
	Periods []time.Duration
	// Events are the calendar's that the forecast steps meet.
	Events []string

	spread spread
}

// spread holds what past forecasts missed by, as whole paths, so that the dependence between steps survives.
type spread struct {
	paths  [][]float64 // [path][step], standardised errors; shared, never written
	steps  []int       // which step of a path belongs to each forecast step
	sorted [][]float64 // [step] errors ascending
	order  [][]int32   // [step] the paths in that order
	weight []float64   // [path] how much it counts
	total  float64
	scale  []float64 // per step, in the unit of the series
	floor  float64   // lowest possible value
}

func (s spread) clamp(v float64) float64 { return math.Max(v, s.floor) }

// Horizon is the number of steps forecast.
func (f Forecast) Horizon() int { return len(f.Mean) }

// Quantile returns the level-quantile of step k (0-based); level is clipped into (0, 1). It is NaN outside the horizon.
func (f Forecast) Quantile(k int, level float64) float64 {
	if k < 0 || k >= len(f.Mean) || math.IsNaN(level) {
		return math.NaN()
	}
	return f.spread.clamp(f.Mean[k] + f.spread.scale[k]*f.spread.quantile(f.spread.sorted[k], f.spread.order[k], level))
}

// MaxQuantile returns the level-quantile of the highest value over the steps from..to, both included and clipped into the
// horizon. It is the quantile of the maximum of joint paths, not the maximum of quantiles: errors of neighbouring steps
// belong together, and the peak of many uncertain steps lies above each single quantile. It is NaN for an empty range.
func (f Forecast) MaxQuantile(from, to int, level float64) float64 {
	return f.MaxQuantiles(from, to, []float64{level})[0]
}

// MaxQuantiles returns MaxQuantile of each level; several cost hardly more than one.
func (f Forecast) MaxQuantiles(from, to int, levels []float64) []float64 {
	out := make([]float64, len(levels))
	from, to = max(from, 0), min(to, len(f.Mean)-1)
	sorted, order := f.peaks(from, to)
	for i, level := range levels {
		switch {
		case from > to || math.IsNaN(level):
			out[i] = math.NaN()
		case len(sorted) == 0:
			out[i] = slices.Max(f.Mean[from : to+1])
		default:
			out[i] = f.spread.quantile(sorted, order, level)
		}
	}
	return out
}

// peaks are the maxima of all paths over the steps from..to, ascending, and the paths in that order.
func (f Forecast) peaks(from, to int) (sorted []float64, order []int32) {
	peaks := make([]float64, len(f.spread.paths))
	order = make([]int32, len(peaks))
	for i, path := range f.spread.paths {
		peak := math.Inf(-1)
		for k := from; k <= to; k++ {
			peak = math.Max(peak, f.Mean[k]+f.spread.scale[k]*path[f.spread.steps[k]])
		}
		peaks[i] = f.spread.clamp(peak)
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(peaks[a], peaks[b]) })
	sorted = make([]float64, len(peaks))
	for i, j := range order {
		sorted[i] = peaks[j]
	}
	return sorted, order
}

// quantile interpolates the weighted level-quantile of values sorted in the given order of paths. The new point takes part
// with the weight of the closest past one, the finite-sample correction of weighted conformal prediction (Tibshirani,
// Barber, Candes, Ramdas 2019).
func (s spread) quantile(sorted []float64, order []int32, level float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	target := level * (s.total + 1)
	sum := 0.0
	for i, j := range order {
		w := s.weight[j]
		if sum+w >= target {
			if i == 0 {
				return sorted[0]
			}
			// Rounding must not lift one level above the next.
			return min(sorted[i], sorted[i-1]+(target-sum)/w*(sorted[i]-sorted[i-1]))
		}
		sum += w
	}
	return sorted[len(sorted)-1]
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
