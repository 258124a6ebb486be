package model

import "math"

// Smoothing is simple exponential smoothing (Brown 1956) on the series itself, or with a period on its difference from a
// causal seasonal profile: the mean of the same phase over up to Cycles earlier cycles.
type Smoothing struct {
	Data   *Data
	Period int // 0: none
	Cycles int
	Label  string
}

func (m Smoothing) Name() string { return m.Label }

var smoothingGrid = []float64{0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1}

// Train picks the smoothing constant with the least absolute error four steps ahead.
func (m Smoothing) Train(end int) Predictor {
	best, least := 1.0, math.Inf(1)
	const ahead = 4
	start := min(m.Period, end/2) + 1
	for _, alpha := range smoothingGrid {
		level, loss := m.remainder(start-1, start-1), 0.0
		for t := start; t+ahead <= end; t++ {
			loss += math.Abs(m.remainder(t+ahead-1, t) - level)
			level += alpha * (m.remainder(t, t) - level)
		}
		if loss < least {
			best, least = alpha, loss
		}
	}
	return &smoothingPredictor{Smoothing: m, alpha: best}
}

// remainder is the value at i less its seasonal profile as known before origin.
func (m Smoothing) remainder(i, origin int) float64 { return m.Data.Y[i] - m.profile(i, origin) }

func (m Smoothing) profile(target, origin int) float64 {
	if m.Period == 0 {
		return 0
	}
	return Profile{Data: m.Data, Period: m.Period, Cycles: m.Cycles}.at(target, origin)
}

type smoothingPredictor struct {
	Smoothing
	alpha  float64
	levels []float64 // levels[t] knows Y[:t+1]
}

func (p *smoothingPredictor) Forecast(origin int, out []float64) {
	for t := len(p.levels); t < origin; t++ {
		r := p.remainder(t, t)
		if t > 0 {
			r = p.levels[t-1] + p.alpha*(r-p.levels[t-1])
		}
		p.levels = append(p.levels, r)
	}
	for k := range out {
		out[k] = p.levels[origin-1] + p.profile(origin+k, origin)
	}
}
