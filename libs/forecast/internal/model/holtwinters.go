package model

import "math"

// HoltWinters is additive exponential smoothing with level, damped trend and season in error-correction form, the model
// ETS(A,Ad,A) (Holt 1957; Winters 1960; Hyndman et al. 2008), or without a period ETS(A,Ad,N). Which constants, and whether
// there is a trend at all, is chosen by the error some steps ahead.
type HoltWinters struct {
	Data   *Data
	Period int  // 0: no season
	Log    bool // of the logarithm: season and errors are proportional to the level
	Label  string
}

func (m HoltWinters) Name() string { return m.Label }

// constants are the smoothing parameters of level, trend and season, and the damping of the trend.
type constants struct{ level, trend, season, damping float64 }

func (m HoltWinters) grid() []constants {
	seasons := []float64{0.03, 0.15, 0.4}
	if m.Period == 0 {
		seasons = []float64{0}
	}
	var out []constants
	for _, level := range []float64{0.1, 0.3, 0.6, 0.9} {
		for _, season := range seasons {
			out = append(out, constants{level, 0, season, 0}, constants{level, 0.1 * level, season, 0.9})
		}
	}
	return out
}

func (m HoltWinters) Train(end int) Predictor {
	p, _ := m.fit(end)
	return p
}

// fit returns the best constants and the sum of their absolute errors.
func (m HoltWinters) fit(end int) (*holtWinters, float64) {
	const ahead = 4
	best, least := m.start(constants{level: 0.5}), math.Inf(1)
	for _, c := range m.grid() {
		p := m.start(c)
		loss := 0.0
		p.follow(end)
		for t := min(2*m.Period, end/2) + 1; t+ahead <= end; t += 3 {
			loss += math.Abs(m.Data.Y[t+ahead-1] - p.ahead(t, ahead-1))
		}
		if loss < least {
			best, least = p, loss
		}
	}
	return best, least
}

type holtWinters struct {
	HoltWinters
	constants
	offset                  float64   // added before the logarithm
	levels, trends, seasons []float64 // states after each point
}

func (m HoltWinters) start(c constants) *holtWinters {
	p := &holtWinters{HoltWinters: m, constants: c}
	if m.Log {
		p.offset = logOffset(m.Data.Y)
	}
	return p
}

// value is a point on the scale of the states.
func (p *holtWinters) value(t int) float64 {
	if p.Log {
		return math.Log(math.Max(p.Data.Y[t], 0) + p.offset)
	}
	return p.Data.Y[t]
}

// follow runs the filter up to the points before end.
func (p *holtWinters) follow(end int) {
	for t := len(p.levels); t < end; t++ {
		if t <= p.Period { // the first cycle sets the state
			mean, n := 0.0, min(max(p.Period, 1), len(p.Data.Y))
			for i := range n {
				mean += p.value(i) / float64(n)
			}
			p.levels, p.trends, p.seasons = append(p.levels, mean), append(p.trends, 0), append(p.seasons, p.value(t)-mean)
			continue
		}
		season := 0.0
		if p.Period > 0 {
			season = p.seasons[t-p.Period]
		}
		level, trend := p.levels[t-1]+p.damping*p.trends[t-1], p.damping*p.trends[t-1]
		miss := p.value(t) - level - season
		p.levels = append(p.levels, level+p.level*miss)
		p.trends = append(p.trends, trend+p.trend*miss)
		p.seasons = append(p.seasons, season+p.season*miss)
	}
}

// ahead forecasts step k from origin.
func (p *holtWinters) ahead(origin, k int) float64 {
	v := p.levels[origin-1]
	damp := p.damping
	for range min(k+1, 40) {
		v += damp * p.trends[origin-1]
		damp *= p.damping
	}
	if p.Period > 0 {
		v += p.seasons[max(lastSeen(origin+k, origin, p.Period), 0)]
	}
	if p.Log {
		return math.Exp(v) - p.offset
	}
	return v
}

func (p *holtWinters) Forecast(origin int, out []float64) {
	p.follow(origin)
	for k := range out {
		out[k] = p.ahead(origin, k)
	}
}
