package period

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func cycles(n int, noise float64, lengths ...int) []float64 {
	rng := rand.New(rand.NewPCG(3, 4))
	y := make([]float64, n)
	for i := range y {
		for _, m := range lengths {
			y[i] += math.Sin(2*math.Pi*float64(i)/float64(m)) + 0.5*math.Cos(4*math.Pi*float64(i)/float64(m))
		}
		y[i] += noise * rng.NormFloat64()
	}
	return y
}

func TestDetect(t *testing.T) {
	t.Parallel()
	spiky := cycles(2016, 0.3, 288)
	spiky[100], spiky[900] = 1000, -500
	rising := cycles(2016, 0.3, 288)
	for i := range rising {
		rising[i] += float64(i) / 100
	}
	for name, tc := range map[string]struct {
		y     []float64
		hints []int
		want  []int
	}{
		"noise":                  {cycles(2000, 1), []int{288}, nil},
		"one odd length":         {cycles(960, 0.5, 120), nil, []int{120}},
		"prime length":           {cycles(2000, 0.5, 97), nil, []int{97}},
		"outliers":               {spiky, nil, []int{288}},
		"trend":                  {rising, nil, []int{288}},
		"two":                    {cycles(2688, 0.3, 48, 336), nil, []int{48, 336}},
		"too long to have three": {cycles(700, 0.2, 288), []int{288}, nil},
		"tiny":                   {[]float64{1, 2, 3}, []int{2}, nil},
		"constant":               {make([]float64, 500), []int{24}, nil},
	} {
		got := Detect(tc.y, tc.hints)
		ok := len(got) == len(tc.want)
		for i := range min(len(got), len(tc.want)) {
			ok = ok && math.Abs(float64(got[i]-tc.want[i])) <= 0.025*float64(tc.want[i])
		}
		if !ok {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestNoiseIsNotExplained(t *testing.T) {
	t.Parallel()
	var found []int
	for _, m := range []int{7, 24, 100, 288} {
		if explained(cycles(1000, 1), m) > 0.05 {
			found = append(found, m)
		}
	}
	if !slices.Equal(found, nil) {
		t.Errorf("noise is explained by cycles of %v", found)
	}
}
