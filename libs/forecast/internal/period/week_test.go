package period

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// weeks is hourly demand with quieter weekends; shape is the day, and week says whether there are weekends at all.
func weeks(n int, weekend float64) []float64 {
	rng := rand.New(rand.NewPCG(3, 4))
	out := make([]float64, n*168)
	for i := range out {
		out[i] = 100 - 60*math.Cos(2*math.Pi*float64(i)/24)
		if i/24%7 >= 5 {
			out[i] *= weekend
		}
		out[i] *= 1 + 0.1*rng.NormFloat64()
	}
	return out
}

// promote multiplies two days by far more than a week ever does.
func promote(y []float64) []float64 {
	for i := 2 * 24; i < 4*24; i++ {
		y[i] *= 5
	}
	return y
}

func TestWithWeek(t *testing.T) {
	t.Parallel()
	negative := weeks(5, 0.8)
	for i := range negative {
		negative[i] -= 120
	}
	for _, tc := range []struct {
		name  string
		y     []float64
		found []int
		want  []int
	}{
		{"a week that was seen stays", weeks(5, 0.8), []int{24, 168}, []int{24, 168}},
		{"a promotion hides the week", promote(weeks(5, 0.8)), []int{24, 47}, []int{24, 168}},
		{"values may be negative", negative, []int{24}, []int{24, 168}},
		{"the week hides the day", weeks(5, 0.8), []int{168}, []int{24, 168}},
		{"no week", promote(weeks(5, 1)), []int{24}, []int{24}},
		{"two weeks are too few", weeks(2, 0.5), []int{24}, []int{24}},
		{"a service without days", weeks(5, 0.8), []int{17}, []int{17}},
		{"nothing was found", weeks(5, 0.8), nil, nil},
		{"constant", make([]float64, 840), []int{24}, []int{24}},
	} {
		if got := WithWeek(tc.y, tc.found, 24, 168); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestWithWeekNeedsHelp keeps the case above honest: without WithWeek the week stays hidden.
func TestWithWeekNeedsHelp(t *testing.T) {
	t.Parallel()
	y := promote(weeks(5, 0.8))
	if found := Detect(y, []int{24, 168}); slices.Contains(found, 168) {
		t.Errorf("Detect finds %v by itself: the promotion is too small to hide the week", found)
	}
}
