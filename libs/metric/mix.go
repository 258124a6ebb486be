package metric

import "math"

// MixNoise is by how much two mixes of the same traffic differ by chance: their expected total variation distance, in [0, 1],
// when one is known from a and the other from b requests drawn one by one. It is the mean of the absolute value of the normal
// error of each share. A number of requests that is not known, 0 or less, adds nothing.
func MixNoise(shares []float64, a, b float64) float64 {
	variance := 0.0 // of a share, per p(1-p)
	for _, n := range []float64{a, b} {
		if n > 0 {
			variance += 1 / n
		}
	}
	sum := 0.0
	for _, p := range shares {
		sum += math.Sqrt(2 / math.Pi * variance * max(0, p*(1-p)))
	}
	return min(1, sum/2)
}
