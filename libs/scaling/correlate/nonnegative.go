package correlate

import "math"

// nonNegative minimises the squared error over costs of at least zero, by the active-set method.
func (d reduced) nonNegative() (costs []float64, rss float64, err error) {
	chosen := make([]bool, d.p)
	costs = make([]float64, d.p)
	if _, rss, err = d.solve(chosen); err != nil {
		return nil, 0, err
	}
	scale := math.Abs(d.r.At(d.p, d.p)) + math.Sqrt(rss)
	for range 3 * (d.p + 1) {
		enter := d.steepest(costs, chosen, scale)
		if enter < 0 {
			break
		}
		chosen[enter] = true
		if costs, rss, err = d.descend(costs, chosen); err != nil {
			return nil, 0, err
		}
	}
	return costs, rss, nil
}

// steepest returns the excluded stratum whose inclusion lowers the error fastest, or -1 when none does.
func (d reduced) steepest(costs []float64, chosen []bool, scale float64) int {
	enter, best := -1, 1e-12*scale
	for j, in := range chosen {
		if in {
			continue
		}
		if g := d.gradient(costs, j) / d.columns[j]; g > best {
			enter, best = j, g
		}
	}
	return enter
}

// descend moves to the optimum of the chosen strata, dropping each that would turn negative on the way.
func (d reduced) descend(from []float64, chosen []bool) (costs []float64, rss float64, err error) {
	for {
		costs, rss, err = d.solve(chosen)
		if err != nil {
			return nil, 0, err
		}
		step, leave := 1.0, -1
		for j, in := range chosen {
			if in && costs[j] <= 0 {
				if s := from[j] / (from[j] - costs[j]); leave < 0 || s < step {
					step, leave = s, j
				}
			}
		}
		if leave < 0 {
			return costs, rss, nil
		}
		for j := range from {
			from[j] += step * (costs[j] - from[j])
		}
		chosen[leave], from[leave] = false, 0
	}
}
