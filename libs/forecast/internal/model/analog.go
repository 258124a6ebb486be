package model

import (
	"math"
	"slices"
)

// Analog looks for the moments of the past whose recent course resembles the present one most, and continues as they did,
// from the present level (nearest-neighbour forecasting: Yakowitz 1987; Lora et al. 2007). With a period only moments at the
// same phase are compared.
type Analog struct {
	data    *Data
	label   string
	period  int // 0: any moment
	log     bool
	offset  float64
	lags    []int // which past values are compared, growing
	window  int   // the level is the mean of this many last values
	matches int
	z       []float64
	prefix  []float64
	level   []float64 // level[t] is the mean of the window that ends before t
}

// AnalogOptions choose what is compared with what.
type AnalogOptions struct {
	Period  int // 0: any moment
	Window  int // how far back the course is compared
	Matches int
	Log     bool // compare and continue ratios instead of differences
}

// NewAnalog compares only values before the origin, whatever it is trained on: there is nothing to fit.
func NewAnalog(label string, d *Data, opt AnalogOptions) *Analog {
	m := &Analog{data: d, label: label, period: opt.Period, log: opt.Log, window: max(2, opt.Window), matches: opt.Matches, prefix: []float64{0}, level: []float64{0}}
	for lag := 1; lag <= m.window; lag += max(1, lag/3) {
		m.lags = append(m.lags, lag)
	}
	if m.log {
		m.offset = logOffset(d.Y)
	}
	return m
}

// logOffset is what is added before a logarithm, so that zeros and near zeros do not dominate.
func logOffset(y []float64) float64 {
	sorted := slices.Clone(y)
	slices.Sort(sorted)
	return 0.1*sorted[len(sorted)/2] + 0.01*sorted[len(sorted)-1] + 1e-9
}

func (m *Analog) Name() string        { return m.label }
func (m *Analog) Train(int) Predictor { return m }

type match struct {
	origin   int
	distance float64
}

func (m *Analog) extend() {
	for i := len(m.z); i < len(m.data.Y); i++ {
		v := m.data.Y[i]
		if m.log {
			v = math.Log(math.Max(v, 0) + m.offset)
		}
		m.z = append(m.z, v)
		m.prefix = append(m.prefix, m.prefix[i]+v)
		from := max(0, i+1-m.window)
		m.level = append(m.level, (m.prefix[i+1]-m.prefix[from])/float64(i+1-from))
	}
}

func (m *Analog) Forecast(origin int, out []float64) {
	m.extend()
	found := m.find(origin, len(out))
	level := m.level[origin]
	last := m.z[origin-1]
	for k := range out {
		sum, weight := 0.0, 0.0
		fade := 1 / float64(k+2) // the last value says more about the next step, the level about later ones
		for _, a := range found {
			w := 1 / a.distance
			next := m.z[a.origin+k]
			sum += w * (fade*(last+next-m.z[a.origin-1]) + (1-fade)*(level+next-m.level[a.origin]))
			weight += w
		}
		v := last
		if weight > 0 {
			v = sum / weight
		}
		if m.log {
			v = math.Exp(v) - m.offset
		}
		out[k] = v
	}
}

// find returns the best matches with a known continuation, best first.
func (m *Analog) find(origin, horizon int) []match {
	// The course changes little from one point to the next: of a long history every second or third moment is enough.
	stride, at := 1+origin/2500, origin-horizon
	if m.period > 0 {
		stride = m.period
		at = lastSeen(origin+horizon-1, origin, m.period) - horizon + 1
	}
	level := m.level[origin]
	now := make([]float64, len(m.lags))
	for i, lag := range m.lags {
		now[i] = m.z[max(origin-lag, 0)] - level
	}
	found := make([]match, 0, m.matches+1)
	bound := math.Inf(1)
	for ; at >= m.window; at -= stride {
		d := m.distance(now, at, bound)
		if d >= bound {
			continue
		}
		i := len(found)
		found = append(found, match{at, d})
		for ; i > 0 && found[i-1].distance > d; i-- {
			found[i], found[i-1] = found[i-1], found[i]
		}
		if len(found) > m.matches {
			found = found[:m.matches]
		}
		if len(found) == m.matches {
			bound = found[len(found)-1].distance
		}
	}
	if len(found) == 0 {
		return nil
	}
	floor := found[len(found)/2].distance/2 + 1e-300 // no single lucky match decides
	for i := range found {
		found[i].distance = math.Max(found[i].distance, floor)
	}
	return found
}

// distance compares the course before at with now; it stops once it exceeds bound.
func (m *Analog) distance(now []float64, at int, bound float64) float64 {
	d, shift := 0.0, m.level[at]
	past := m.z[at-m.window : at]
	for i, lag := range m.lags {
		diff := now[i] - past[m.window-lag] + shift
		d += diff * diff
		if d >= bound {
			break
		}
	}
	return d
}
