package pool

import (
	"math"
	"testing"
)

// hours is a weigher of two models over forecasts a day of 24 ahead from every seventh hour; wrong says which of them errs
// for a target at the given distance ahead.
func hours(longer int, wrong func(target, step int) int) *weigher {
	w := &weigher{models: 2, horizon: 24, period: 24, longer: longer, leads: leadKernels(24), total: make([]float64, 48)}
	for o := 0; o < 24*7*6; o += 7 {
		row := make([]float32, 48)
		for k := range 24 {
			row[2*k], row[2*k+1] = 1, 1
			row[2*k+wrong(o+k, k)] = 4
		}
		w.origins, w.losses, w.recent = append(w.origins, o), append(w.losses, row), append(w.recent, 1)
		for c, v := range row {
			w.total[c] += float64(v)
		}
	}
	return w
}

func TestTargetWeightsKnowTheHourForecast(t *testing.T) {
	t.Parallel()
	w := hours(0, func(target, _ int) int {
		if target%24 == 12 {
			return 1
		}
		return 0
	})
	for _, origin := range []int{1008, 1013, 1019} {
		for k, got := range w.weights(origin, 0) {
			right := 1
			if (origin+k)%24 == 12 {
				right = 0
			}
			if got[right] < 0.9 {
				t.Errorf("from hour %d, %d ahead: weights %v", origin%24, k+1, got)
			}
		}
	}
}

func TestTargetWeightsKnowTheDayOfTheWeek(t *testing.T) {
	t.Parallel()
	w := hours(168, func(target, _ int) int {
		if target/24%7 == 6 {
			return 1
		}
		return 0
	})
	if got := w.weights(1008-24, 0)[12]; got[0] < 0.4 { // noon of the last day
		t.Errorf("weights %v on the day the first model is right", got)
	}
	if got := w.weights(1008+48, 0)[12]; got[0] > 0.1 {
		t.Errorf("weights %v on another day", got)
	}
}

func TestTargetWeightsKnowTheDistance(t *testing.T) {
	t.Parallel()
	w := hours(0, func(_, step int) int {
		if step < 3 {
			return 1
		}
		return 0
	})
	got := w.weights(1008, 0)
	if got[0][0] < 0.7 || got[23][1] < 0.9 {
		t.Errorf("weights %v at first and %v at last, want the one that is right there", got[0], got[23])
	}
}

func TestTargetWeightsLeaveTheOriginItself(t *testing.T) {
	t.Parallel()
	// Only around the origin does the second model err.
	w := hours(0, func(target, _ int) int {
		if target >= 500 && target < 530 {
			return 1
		}
		return 0
	})
	for k, got := range w.weights(504, 30) {
		if math.Abs(got[1]-64.0/65) > 1e-6 {
			t.Errorf("step %d: weights %v from an origin whose own losses must not count, want 1 to 64", k, got)
		}
	}
}
