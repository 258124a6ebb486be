package pool

import "math"

// weigher turns the losses of the backtest into weights for one origin. Past origins at a similar phase of the main cycle
// count most: which model is right depends on the time of day (a nightly batch job is no smooth ramp), and where there is a
// week beside the day, on the day of the week (on Fridays yesterday says little about tomorrow). Recent origins count more.
type weigher struct {
	origins []int
	models  int
	horizon int
	period  int         // main cycle, 0 for none
	longer  int         // a cycle of several main ones, 0 for none
	losses  [][]float32 // [origin][step*models+model], in units of unit, smoothed over neighbouring steps
	unit    float64     // keeps losses of any magnitude within a float32
	recent  []float64   // [origin] how much it counts for being recent
	total   []float64   // weighted sum of losses
	leads   [][]float64 // [step][past step] how alike they are as distances; nil unless targets are compared instead of origins
}

const (
	bandwidth = 0.03 // how near two phases must be to count as alike, as a share of the cycle
	elsewhere = 0.02 // the weight of an origin at another phase
	halfLife  = 0.5  // of the weight of an origin, as a share of the history
	sameDay   = 6    // how much more an origin of the same day of the week counts than one of another
)

// newWeigher compares origins, or with far what was forecast, see targetWeights.
func newWeigher(b *backtest, periods []int, far bool) *weigher {
	w := &weigher{origins: b.origins, models: len(b.made), horizon: b.horizon}
	if len(periods) > 0 {
		w.period = periods[0]
	}
	if far && w.period > 0 {
		w.leads = leadKernels(w.horizon)
	}
	if len(periods) > 1 && periods[1] >= 2*periods[0] {
		w.longer = periods[1]
	}
	w.unit = max(b.bounds.high-b.bounds.low, 1e-300)
	w.total = make([]float64, w.models*w.horizon)
	raw := make([]float64, b.horizon+1)
	for j, o := range b.origins {
		row := make([]float32, w.models*w.horizon)
		for i := range w.models {
			for k := range w.horizon {
				raw[k+1] = raw[k]
				if !b.data.Missing[o+k] {
					raw[k+1] += math.Abs(b.data.Y[o+k] - b.made[i][j][k])
				}
			}
			for k := range w.horizon {
				from, to := w.around(k)
				row[k*w.models+i] = float32((raw[to] - raw[from]) / float64(to-from) / w.unit)
			}
		}
		recent := math.Exp2(float64(o-len(b.data.Y)) / (halfLife * float64(len(b.data.Y))))
		w.recent = append(w.recent, recent)
		for c, v := range row {
			w.total[c] += recent * float64(v)
		}
		w.losses = append(w.losses, row)
	}
	return w
}

// around are the steps over which the losses at step k are smoothed.
func (w *weigher) around(k int) (from, to int) {
	reach := k/3 + 1
	if w.leads != nil {
		reach = max(1, int(bandwidth*float64(w.period)))
	}
	return max(0, k-reach), min(w.horizon, k+reach+1)
}

// phaseKernel says how alike the phases of two origins are, from 0 to 1.
func (w *weigher) phaseKernel(past, origin int) float64 {
	if w.period == 0 {
		return 0
	}
	x := float64(distance(past, origin, w.period)) / (float64(w.period) * bandwidth)
	if x > 2.5 {
		return 0
	}
	return math.Exp(-x * x / 2)
}

// dayKernel says how much more an origin counts for being at a similar phase of the longer cycle, from 1 to 1+sameDay.
func (w *weigher) dayKernel(past, origin int) float64 {
	if w.longer == 0 {
		return 1
	}
	days := 2 * float64(distance(past, origin, w.longer)) / float64(w.period)
	return 1 + sameDay*math.Exp(-days*days/2)
}

// distance is how far apart two points are within a cycle.
func distance(a, b, period int) int {
	d := (b - a) % period
	if d < 0 {
		d += period
	}
	return min(d, period-d)
}

// weights are those of the models per step for a forecast from origin; origins of the backtest within exclude points of it
// are left out, so that an origin of the backtest is not judged by itself.
func (w *weigher) weights(origin, exclude int) [][]float64 {
	if w.leads != nil {
		return w.targetWeights(origin, exclude)
	}
	sum := make([]float64, len(w.total))
	for c, v := range w.total {
		sum[c] = elsewhere * v
	}
	for j, o := range w.origins {
		u := w.phaseKernel(o, origin) * w.dayKernel(o, origin)
		if o > origin-exclude && o < origin+exclude {
			u = -elsewhere
		}
		if u == 0 {
			continue
		}
		u *= w.recent[j]
		for c, v := range w.losses[j] {
			sum[c] += u * float64(v)
		}
	}
	return w.shares(sum)
}

// shares turns the losses per step and model into weights in place.
func (w *weigher) shares(sum []float64) [][]float64 {
	out := make([][]float64, w.horizon)
	for k := range out {
		out[k] = share(sum[k*w.models : (k+1)*w.models])
	}
	return out
}

// share turns losses into weights in place. The cube trusts the backtest without letting it pick a single winner.
func share(losses []float64) []float64 {
	least, sum := math.Inf(1), 0.0
	for _, l := range losses {
		if l < least {
			least = l
		}
	}
	for i, l := range losses {
		ratio := 1.0
		if l > least {
			ratio = max(least, 0) / l
		}
		if math.IsNaN(ratio) || math.IsNaN(l) || math.IsInf(l, 0) {
			ratio = 0
		}
		losses[i] = ratio * ratio * ratio
		sum += losses[i]
	}
	for i := range losses {
		losses[i] /= sum
	}
	return losses
}
