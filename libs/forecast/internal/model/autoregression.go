package model

import "math"

// Autoregression is an AR(p) process, its order chosen by AIC and its coefficients by the Durbin-Levinson recursion (Levinson
// 1947, Durbin 1960), on what a seasonal profile leaves: decomposition with an autoregressive remainder.
type Autoregression struct {
	Smoothing // only its profile is used
	MaxOrder  int
}

func (m Autoregression) Train(end int) Predictor {
	from := m.Period
	if end-from < 3*m.MaxOrder {
		from = 0
	}
	rest := make([]float64, 0, end-from)
	mean := 0.0
	for i := from; i < end; i++ {
		r := m.remainder(i, i)
		rest = append(rest, r)
		mean += r
	}
	mean /= math.Max(1, float64(len(rest)))
	for i := range rest {
		rest[i] -= mean
	}
	return &autoregressive{Autoregression: m, mean: mean, coef: yuleWalker(rest, m.MaxOrder)}
}

// yuleWalker returns the coefficients of the order with the least AIC.
func yuleWalker(x []float64, maxOrder int) []float64 {
	n := float64(len(x))
	cov := make([]float64, maxOrder+1)
	for lag := range cov {
		for i := lag; i < len(x); i++ {
			cov[lag] += x[i] * x[i-lag]
		}
	}
	if !(cov[0] > 0) {
		return nil
	}
	var best []float64
	left := cov[0]
	least := n * math.Log(left)
	coef := make([]float64, 0, maxOrder)
	for p := 1; p <= maxOrder && p < len(x)/3; p++ {
		reflection := cov[p]
		for i, c := range coef {
			reflection -= c * cov[p-1-i]
		}
		reflection /= left
		next := make([]float64, p)
		for i, c := range coef {
			next[i] = c - reflection*coef[p-2-i]
		}
		next[p-1] = reflection
		coef = next
		left *= 1 - reflection*reflection
		if !(left > 0) {
			break
		}
		if aic := n*math.Log(left) + 2*float64(p); aic < least {
			best, least = coef, aic
		}
	}
	return best
}

type autoregressive struct {
	Autoregression
	mean float64
	coef []float64
	rest []float64
}

func (p *autoregressive) Forecast(origin int, out []float64) {
	for i := len(p.rest); i < origin; i++ {
		p.rest = append(p.rest, p.remainder(i, i)-p.mean)
	}
	path := make([]float64, len(out))
	for k := range out {
		for i, c := range p.coef {
			switch at := k - 1 - i; {
			case at >= 0:
				path[k] += c * path[at]
			case origin+at >= 0:
				path[k] += c * p.rest[origin+at]
			}
		}
		out[k] = path[k] + p.mean + p.profile(origin+k, origin)
	}
}
