package model

import "math"

// Theta is the optimised theta method (Assimakopoulos, Nikolopoulos 2000; Fiorucci, Pellegrini, Louzada, Petropoulos,
// Koehler 2016): a line through the seasonally adjusted history and simple exponential smoothing of the same history with its
// curvature amplified theta times, combined so that they add up. With theta 1 it is the smoothing alone, with 2 the classical
// method. Season: STL.
type Theta struct {
	Data    *Data
	Periods []int
	Label   string
}

func (m Theta) Name() string { return m.Label }

func (m Theta) Train(end int) Predictor {
	base := Decomposition{Data: m.Data, Periods: m.Periods}.Train(end).(*adjustedPredictor)
	p := &thetaPredictor{adjusted: base.adjusted}
	base.level = p
	p.line(end)
	const ahead = 4
	least := math.Inf(1)
	for _, theta := range []float64{1, 1.5, 2, 3} {
		for _, alpha := range smoothingGrid {
			level, loss := p.adjusted.Y[0], 0.0
			drift := (1 - 1/theta) * p.slope
			for t := 0; t+ahead < end; t++ {
				level += drift + alpha*(p.adjusted.Y[t]-level-drift)
				loss += math.Abs(p.adjusted.Y[t+ahead] - level - drift*ahead)
			}
			if loss < least {
				least, p.alpha, p.drift = loss, alpha, drift
			}
		}
	}
	return base
}

type thetaPredictor struct {
	adjusted            *Data
	slope, drift, alpha float64
	levels              []float64
}

// line is the slope of the least-squares line through the points before end.
func (p *thetaPredictor) line(end int) {
	var st, sy float64
	for i, v := range p.adjusted.Y[:end] {
		t := float64(i) - float64(end-1)/2
		st += t * t
		sy += t * v
	}
	if st > 0 {
		p.slope = sy / st
	}
}

func (p *thetaPredictor) Forecast(origin int, out []float64) {
	for t := len(p.levels); t < origin; t++ {
		level := p.adjusted.Y[t]
		if t > 0 {
			before := p.levels[t-1] + p.drift
			level = before + p.alpha*(level-before)
		}
		p.levels = append(p.levels, level)
	}
	for k := range out {
		out[k] = p.levels[origin-1] + p.drift*float64(k+1)
	}
}
