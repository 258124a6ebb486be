package pool

import "math"

// leadWidth is how far apart two distances ahead may be, as the logarithm of their ratio, to count as alike.
const leadWidth = 0.35

// leadKernels says for each step how alike every step is as a distance ahead, from 0 to 1: three hours and four are, one hour
// and twelve are not.
func leadKernels(horizon int) [][]float64 {
	out := make([][]float64, horizon)
	for k := range out {
		out[k] = make([]float64, horizon)
		for past := range out[k] {
			x := math.Log(float64(past+2)/float64(k+2)) / leadWidth
			if kernel := math.Exp(-x * x / 2); kernel > elsewhere {
				out[k][past] = kernel
			}
		}
	}
	return out
}

// targetWeights are the weights for forecasts that reach about a day ahead. Which model is right at noon tomorrow depends on
// its being noon, and Sunday, more than on the hour at which it is asked: every origin of the backtest forecast some noon, and
// counts with that, the more the more alike the distance and the day of the week are. Of less than three weeks there are too
// few noons for that. See weights for exclude.
func (w *weigher) targetWeights(origin, exclude int) [][]float64 {
	sum := make([]float64, len(w.total))
	for c, v := range w.total {
		sum[c] = elsewhere * v
	}
	at := func(k int) []float64 { return sum[k*w.models : (k+1)*w.models] }
	for j, o := range w.origins {
		if o > origin-exclude && o < origin+exclude {
			for k := range w.horizon {
				w.count(at(k), j, k, -elsewhere)
			}
			continue
		}
		// The step offset later from there was at the same phase: whole cycles lie between the two targets.
		shift := ((origin-o)%w.period + w.period) % w.period
		for offset := shift - w.horizon/w.period*w.period - w.period; offset < w.horizon; offset += w.period {
			day := w.dayKernel(o+offset, origin)
			for k := max(0, -offset); k < w.horizon-max(0, offset); k++ {
				if lead := w.leads[k][k+offset]; lead > 0 {
					w.count(at(k), j, k+offset, lead*day)
				}
			}
		}
	}
	return w.shares(sum)
}

// count adds the losses of all models at a step from the j-th origin.
func (w *weigher) count(to []float64, j, step int, weight float64) {
	weight *= w.recent[j]
	for i, v := range w.losses[j][step*w.models : (step+1)*w.models] {
		to[i] += weight * float64(v)
	}
}
