package model

import "math"

// Harmonic is regression on sines and cosines of each period with an autoregressive remainder (dynamic harmonic regression:
// Young, Pedregal, Tych 1999; Hyndman, Athanasopoulos, "Forecasting: Principles and Practice", 3rd ed., ch. 10.5): the shape of
// a cycle in a few numbers, for histories of few and noisy cycles. The remainder's order is chosen by AIC.
type Harmonic struct {
	data     *Data
	label    string
	maxOrder int
	waves    []wave
	sums     *moments
	done     int
}

// wave is one sine and cosine, tabulated over its period.
type wave struct{ sin, cos []float64 }

const (
	mainHarmonics  = 8 // of the shortest period
	otherHarmonics = 5 // of every longer one
	harmonicRidge  = 1e-4
)

// NewHarmonic prepares the waves of all periods; there must be one.
func NewHarmonic(label string, d *Data, maxOrder int) *Harmonic {
	m := &Harmonic{data: d, label: label, maxOrder: maxOrder}
	for i, period := range d.Periods {
		count := mainHarmonics
		if i > 0 {
			count = otherHarmonics
		}
		for h := 1; h <= min(count, period/2); h++ {
			w := wave{make([]float64, period), make([]float64, period)}
			for phase := range period {
				w.sin[phase], w.cos[phase] = math.Sincos(2 * math.Pi * float64(h*phase%period) / float64(period))
			}
			m.waves = append(m.waves, w)
		}
	}
	m.sums = newMoments(2 * len(m.waves))
	return m
}

func (m *Harmonic) Name() string { return m.label }

func (m *Harmonic) row(i int, x []float64) {
	for j, w := range m.waves {
		phase := i % len(w.sin)
		x[2*j], x[2*j+1] = w.sin[phase], w.cos[phase]
	}
}

// Train adds the points that became known since the last call and solves for the amplitudes.
func (m *Harmonic) Train(end int) Predictor {
	x := make([]float64, 2*len(m.waves))
	for i := m.done; i < end; i++ {
		if !m.data.Missing[i] {
			m.row(i, x)
			m.sums.add(x, m.data.Y[i], 1)
		}
	}
	m.done = max(m.done, end)
	coef := m.sums.solve(harmonicRidge)
	at := func(i int) float64 {
		m.row(i, x)
		return dot(coef, x)
	}
	return newRemainder(m.data, end, m.maxOrder, at)
}
