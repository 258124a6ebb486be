package pool

import (
	"cmp"
	"slices"
)

// weightedMedian is the value at which half of the weight is reached; the values need no order.
func weightedMedian(weights, values []float64) float64 {
	var buffer [32]int
	order := buffer[:0]
	total := 0.0
	for i, w := range weights {
		if w > 0 {
			order = append(order, i)
			total += w
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(values[a], values[b]), cmp.Compare(a, b)) })
	sum := 0.0
	for _, i := range order {
		if sum += weights[i]; sum >= total/2 {
			return values[i]
		}
	}
	return values[0] // only when there is no weight at all
}
