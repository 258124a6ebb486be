package sample

import "math"

const (
	// planReplicates suffice to compare rates; figureReplicates are for what is published.
	planReplicates   = 100
	figureReplicates = 400
	// planSteps halve the range of the logarithm of the factor, which leaves 3 %.
	planSteps = 10
	// proofs is how often rates are raised by proofStep when they miss the target after all.
	proofs    = 4
	proofStep = 1.25
	// margin of the target is left for traffic that changes until the next allocation.
	margin = 0.9
	// leastRate keeps weights finite.
	leastRate = 1e-6
)

// goal is what an allocation must reach: half-widths of the mix and of p95, and requests per stratum.
type goal struct {
	target  float64
	minimum float64
}

// allocate returns the rates with which the sample reaches the goal at about the least number of copies. For one variable
// y the best rates are those of Neyman: p_h proportional to sqrt(S_h / c_h), with S_h the sum over sessions of their squared
// totals in the stratum and c_h its cost, here its requests. There are two variables, the requests themselves and those
// above p95, so two allocations are made, each scaled until its own half-width is within the goal, and of the two the higher
// rate holds. No stratum gets less than the minimum; a rate of 1 is always enough.
func (p *population) allocate(g goal) []float64 {
	size, tail := p.spread()
	rates := p.scaled(size, g, func(f Figure) float64 { return f.Mix })
	if p.all.measured > 0 {
		for h, rate := range p.scaled(tail, g, func(f Figure) float64 { return f.P95HalfWidth() }) {
			rates[h] = max(rates[h], rate)
		}
	}
	// More replicates tell what the search among few of them has flattered.
	for range proofs {
		if p.figure(rates, figureReplicates).within(g.target) {
			break
		}
		for h := range rates {
			rates[h] = min(1, rates[h]*proofStep)
		}
	}
	return rates
}

// within reports whether mix and p95, where it is known, are within a target.
func (f Figure) within(target float64) bool { return f.Mix <= target && !(f.P95HalfWidth() > target) }

// spread returns sqrt(S_h / c_h) of both variables.
func (p *population) spread() (size, tail []float64) {
	size, tail = make([]float64, len(p.all.requests)), make([]float64, len(p.all.requests))
	above := 0
	for above < len(edges) && edges[above] < Quantile {
		above++
	}
	type sums struct{ n, over, measured float64 }
	for i, cells := range p.drawn {
		of := map[uint32]sums{}
		for _, c := range cells {
			s := of[c.stratum]
			s.n += float64(c.n)
			if c.bin != unmeasured {
				s.measured += float64(c.n)
				if int(c.bin) > above {
					s.over += float64(c.n)
				}
			}
			of[c.stratum] = s
		}
		for h, s := range of {
			t := s.over - (1-Quantile)*s.measured
			size[h] += p.weight(i) * s.n * s.n
			tail[h] += p.weight(i) * t * t
		}
	}
	for h, n := range p.all.requests {
		if n > 0 {
			size[h], tail[h] = math.Sqrt(size[h]/n), math.Sqrt(tail[h]/n)
		}
	}
	return size, tail
}

// scaled finds the smallest factor with which the shape reaches the goal.
func (p *population) scaled(shape []float64, g goal, halfWidth func(Figure) float64) []float64 {
	largest := 0.0
	for _, s := range shape {
		largest = max(largest, s)
	}
	if largest == 0 {
		largest = 1
	}
	rates := make([]float64, len(shape))
	set := func(factor float64) {
		for h, s := range shape {
			least := min(1, max(leastRate, g.minimum/p.all.requests[h]))
			rates[h] = min(1, max(least, factor*s/largest))
		}
	}
	// The factor at which even the flattest stratum is taken whole bounds the search.
	low, high := math.Log(leastRate), math.Log(1/leastRate)
	for range planSteps {
		middle := (low + high) / 2
		set(math.Exp(middle))
		if halfWidth(p.figure(rates, planReplicates)) <= margin*g.target {
			high = middle
		} else {
			low = middle
		}
	}
	set(math.Exp(high))
	return rates
}

// cost is how many requests are copied.
func (p *population) cost(rates []float64) float64 {
	sum := 0.0
	for h, n := range p.all.requests {
		sum += n * rates[h]
	}
	return sum
}
