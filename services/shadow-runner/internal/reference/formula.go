package reference

import (
	"math"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// The sojourn time of a request is its wait and its service; each function below is the share of requests that take longer
// than t seconds at the rate of arrivals lambda, from the textbook formula.

// erlangC is the probability of a wait in M/M/c at an offered load of a (Kleinrock, Queueing Systems I, 1975, section 3.5).
func erlangC(c int, a float64) float64 {
	b := erlangB(c, a)
	return float64(c) * b / (float64(c) - a*(1-b))
}

// erlangB is the probability that all c servers of M/G/c/c are busy (the same, section 3.6).
func erlangB(c int, a float64) float64 {
	b := 1.0
	for k := 1; k <= c; k++ {
		b = a * b / (float64(k) + a*b)
	}
	return b
}

// exceedMMc: the wait is exponential with rate c*mu-lambda when there is one, the service exponential with rate mu.
func exceedMMc(c int, mu, lambda, t float64) float64 {
	if lambda >= float64(c)*mu {
		return 1
	}
	wait, drain := erlangC(c, lambda/mu), float64(c)*mu-lambda
	tail := math.Exp(-mu * t)
	if math.Abs(drain-mu) < 1e-9*mu {
		return tail + wait*mu*t*tail
	}
	return (1-wait)*tail + wait*(drain*tail-mu*math.Exp(-drain*t))/(drain-mu)
}

// exceedMDc holds for whole multiples of the service time d: a request waits at most k*d if it finds fewer than (k+1)*c others
// (Franx, A simple solution for the M/D/c waiting time distribution, Operations Research Letters 29, 2001). How many others
// there are follows from all in service leaving within d, by iteration.
func exceedMDc(c int, d, lambda, t float64) float64 {
	if lambda*d >= float64(c) {
		return 1
	}
	const states = 160
	arrive := make([]float64, states)
	arrive[0] = math.Exp(-lambda * d)
	for n := 1; n < states; n++ {
		arrive[n] = arrive[n-1] * lambda * d / float64(n)
	}
	p := make([]float64, states)
	p[0] = 1
	for range 1500 {
		next, change := make([]float64, states), 0.0
		for n, share := range p {
			for k := 0; share > 1e-15 && k < states-max(n-c, 0) && k < 60; k++ {
				next[max(n-c, 0)+k] += share * arrive[k]
			}
		}
		for n := range p {
			change += math.Abs(next[n] - p[n])
		}
		if p = next; change < 1e-9 {
			break
		}
	}
	k := int(math.Round(t/d)) - 1
	sum := 0.0
	for n := 0; n < (k+1)*c && n < states; n++ {
		sum += p[n]
	}
	return 1 - sum
}

// solve is the rate at which bad reaches forgiven.
func solve(forgiven, top float64, bad func(lambda float64) float64) float64 {
	low, high := 0.0, top
	for range 14 {
		mid := (low + high) / 2
		if bad(mid) < forgiven {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// Knee is the highest rate at which the law meets the SLO, in requests per second: by formula where there is one, else by
// simulation. Fixed service times need an SLO that leaves whole multiples of them.
func (l Law) Knee(slo probe.SLO) float64 {
	top := float64(l.Workers) / l.Service.Seconds()
	if l.Refuses { // Erlang's formula holds for service times of any distribution
		return solve(slo.ErrorRatio, top, func(lambda float64) float64 { return erlangB(l.Workers, lambda*l.Service.Seconds()) })
	}
	if l.Draw != nil || l.Delay != nil || l.Shared || l.Pause > 0 {
		return l.simulated(slo, 0.99*top)
	}
	left := (slo.Latency - l.Base).Seconds()
	return solve(1-slo.Quantile, 0.97*top, func(lambda float64) float64 {
		if l.Random {
			return exceedMMc(l.Workers, 1/l.Service.Seconds(), lambda, left)
		}
		return exceedMDc(l.Workers, l.Service.Seconds(), lambda, left)
	})
}
