package probe

import "math"

// burstiness is by how much the knee of real traffic lies below that of the steps, in the logarithm of the rate. A step offers
// a fixed number of requests, which takes most of the noise out of it, but independent clients send a Poisson number: in the
// same stretch of time sometimes more, and then more of them break the SLO than are saved when there are fewer. The fitted
// curve is averaged over that number.
func burstiness(level, slope, x float64, points []point) float64 {
	seconds := 0.0
	for _, p := range points {
		seconds += p.seconds / float64(len(points))
	}
	sd := 1 / math.Sqrt(math.Exp(x)*seconds)
	slope = min(slope, slopePrior)
	share := func(shift float64) float64 {
		sum := 0.0
		for i, z := range hermiteAt {
			sum += hermiteWeight[i] / (1 + math.Exp(-(level + slope*(z*sd-shift))))
		}
		return sum
	}
	want := 1 / (1 + math.Exp(-level))
	low, high := 0.0, 1.0
	for range 30 {
		mid := (low + high) / 2
		if share(mid) > want {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// Nodes and weights of the five-point Gauss-Hermite rule for the standard normal distribution.
var (
	hermiteAt     = [5]float64{-2.8569700138728056, -1.3556261799742659, 0, 1.3556261799742659, 2.8569700138728056}
	hermiteWeight = [5]float64{0.011257411327720689, 0.22207592200561266, 0.53333333333333333, 0.22207592200561266, 0.011257411327720689}
)
