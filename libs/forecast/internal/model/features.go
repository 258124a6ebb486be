package model

import "math"

// Features turn the history before an origin into regressors for one step ahead. Everything is measured relative to the last
// value, so a level shift moves the forecast and not the coefficients.
type Features struct {
	data    *Data
	log     bool
	offset  float64 // added before the logarithm, so that zeros stay finite
	z       []float64
	prefix  []float64 // prefix[i] = sum of z[:i]
	lags    int
	windows []int
	cycles  []cycle
	first   int
}

// cycle is one period and how many of its past repetitions are used.
type cycle struct {
	period, depth, smooth int
}

// NewFeatures builds the full set: recent lags and means, and for each period the changes seen in earlier cycles.
func NewFeatures(d *Data, log bool) *Features {
	f := &Features{data: d, log: log, lags: 6, prefix: []float64{0}}
	if log {
		f.offset = logOffset(d.Y)
	}
	n := len(d.Y)
	longest := n / 4
	for w := 4; w <= longest && w <= 512; w *= 2 {
		f.windows = append(f.windows, w)
	}
	f.first = f.lags + 2
	for _, m := range d.Periods {
		depth := min(4, n/m-2)
		if depth < 1 {
			continue
		}
		f.cycles = append(f.cycles, cycle{period: m, depth: depth, smooth: max(1, m/96)})
		f.first = max(f.first, m*depth+f.lags)
	}
	for _, w := range f.windows {
		f.first = max(f.first, w+1)
	}
	f.extend()
	return f
}

// Width is the number of features of a row.
func (f *Features) Width() int {
	w := f.lags + len(f.windows)
	for _, c := range f.cycles {
		w += 2*c.depth + 3 + 4
	}
	return w
}

// First is the first origin whose features are all real.
func (f *Features) First() int { return f.first }

func (f *Features) extend() {
	for i := len(f.z); i < len(f.data.Y); i++ {
		v := f.data.Y[i]
		if f.log {
			v = math.Log(math.Max(v, 0) + f.offset)
		}
		f.z = append(f.z, v)
		f.prefix = append(f.prefix, f.prefix[i]+v)
	}
}

// Row fills x with the features for step k (0-based) from origin and returns the target, NaN when it is not known yet.
func (f *Features) Row(origin, k int, x []float64) float64 {
	last := f.at(origin - 1)
	i := 0
	put := func(v float64) { x[i] = v; i++ }
	for l := 1; l <= f.lags; l++ {
		put(f.at(origin-1-l) - last)
	}
	for _, w := range f.windows {
		put(f.mean(origin-w, origin) - last)
	}
	target := origin + k
	for _, c := range f.cycles {
		i += f.cycleRow(c, origin, target, x[i:])
	}
	if target < len(f.z) {
		return f.z[target] - last
	}
	return math.NaN()
}

func (f *Features) cycleRow(c cycle, origin, target int, x []float64) int {
	last := f.at(origin - 1)
	shift := target - origin + 1
	i, sum, smooth := 0, 0.0, 0.0
	for d, at := 0, lastSeen(target, origin, c.period); d < c.depth; d, at = d+1, at-c.period {
		change := f.at(at) - f.at(at-shift)
		x[i], x[i+1] = change, f.at(at-shift)-last
		i += 2
		sum += change
		smooth += f.mean(at-c.smooth, min(at+c.smooth+1, origin)) - f.mean(at-shift-c.smooth, at-shift+c.smooth+1)
	}
	x[i] = sum / float64(c.depth)
	x[i+1] = smooth / float64(c.depth)
	x[i+2] = f.mean(origin-c.period, origin) - last
	i += 3
	phase := 2 * math.Pi * float64(target%c.period) / float64(c.period)
	sin, cos := math.Sincos(phase)
	sin2, cos2 := math.Sincos(2 * phase)
	x[i], x[i+1], x[i+2], x[i+3] = sin, cos, sin2, cos2
	return i + 4
}

// Restore maps a predicted change back to the unit of the series.
func (f *Features) Restore(origin, _ int, change float64) float64 {
	v := f.at(origin-1) + change
	if f.log {
		return math.Exp(v) - f.offset
	}
	return v
}

func (f *Features) missing(i int) bool { return f.data.Missing[i] }

func (f *Features) at(i int) float64 { return f.z[min(max(i, 0), len(f.z)-1)] }

// mean is the average of z[from:to], as far as it exists.
func (f *Features) mean(from, to int) float64 {
	from, to = max(from, 0), min(to, len(f.z))
	if from >= to {
		return f.at(to)
	}
	return (f.prefix[to] - f.prefix[from]) / float64(to-from)
}
