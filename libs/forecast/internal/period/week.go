package period

import (
	"math"
	"slices"
)

// clipAt is beyond how many median absolute values a deviation from the mean cycle counts no further.
const clipAt = 2.5

// WithWeek returns found, or day and week when both show in y, lengths in points, once days out of the ordinary are held in
// check: one promotion or a holiday can hold most of the variance of some weeks, and Detect then finds whatever cycle its
// shadow makes. Forecasts about a day ahead live by the week; for the next minutes it matters little. y must be finite.
func WithWeek(y []float64, found []int, day, week int) []int {
	if day < 2 || week < 2*day || week > len(y)/minCycles {
		return found
	}
	if !slices.Contains(found, day) && !slices.Contains(found, week) {
		return found // this service does not live by the clock
	}
	x := flatten(logged(y))
	if !slices.Contains(found, day) && explained(clipped(x), day) < minHinted {
		return found
	}
	if explained(clipped(deseason(x, day)), week) < minHinted {
		return found
	}
	return []int{day, week}
}

// logged is the logarithm of a series that is never negative, so that a busy week counts by its proportions.
func logged(y []float64) []float64 {
	sorted := slices.Clone(y)
	slices.Sort(sorted)
	if sorted[0] < 0 {
		return y
	}
	offset := 0.1*sorted[len(sorted)/2] + 0.01*sorted[len(sorted)-1] + 1e-9 // keeps zeros from deciding
	out := make([]float64, len(y))
	for i, v := range y {
		out[i] = math.Log(v + offset)
	}
	return out
}

// clipped holds x within clipAt times its median absolute value.
func clipped(x []float64) []float64 {
	size := make([]float64, len(x))
	for i, v := range x {
		size[i] = math.Abs(v)
	}
	slices.Sort(size)
	bound := clipAt * size[len(size)/2]
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = min(max(v, -bound), bound)
	}
	return out
}
