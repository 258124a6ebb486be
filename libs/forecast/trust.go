package forecast

import "math"

// trustLevel is the quantile whose coverage and pinball loss are tracked: what scaling for few violations rests on.
const trustLevel = 0.95

// Trust says how the engine's own past forecasts fared against a reactive one (the last value, with the spread its own past
// errors call for), over the most recent scored steps. All losses are in the unit of the series.
type Trust struct {
	Samples         int     // scored steps, weighted; at first from the backtest, then from live forecasts
	Coverage        float64 // share of actual values at or below the 0.95 quantile
	Pinball         float64 // mean pinball loss of the 0.95 quantile
	ReactivePinball float64
	MAE             float64
	ReactiveMAE     float64
	// Earned is whether the forecast should be acted on; Reason says why or why not.
	Earned bool
	Reason string
}

// Skill is the share of the reactive pinball loss that the forecast avoids: 1 is perfect, 0 no better, negative worse.
func (t Trust) Skill() float64 {
	if t.ReactivePinball <= 0 {
		return 0
	}
	return 1 - t.Pinball/t.ReactivePinball
}

// scoreboard is an exponentially forgetting mean of scores; memory is its length in scored steps.
type scoreboard struct {
	Weight, Covered, Pinball, ReactivePinball, Error, ReactiveError float64
}

const scoreMemory = 2000

// outcome is one actual value beside what had been forecast for it.
type outcome struct{ y, mean, q, reactive, reactiveQ float64 }

func (s *scoreboard) add(o outcome) {
	keep := 1 - 1.0/scoreMemory
	s.Weight = s.Weight*keep + 1
	s.Covered *= keep
	if o.y <= o.q {
		s.Covered++
	}
	s.Pinball = s.Pinball*keep + pinball(o.y, o.q, trustLevel)
	s.ReactivePinball = s.ReactivePinball*keep + pinball(o.y, o.reactiveQ, trustLevel)
	s.Error = s.Error*keep + math.Abs(o.y-o.mean)
	s.ReactiveError = s.ReactiveError*keep + math.Abs(o.y-o.reactive)
}

// pinball is the quantile loss (Koenker, Bassett 1978).
func pinball(y, q, level float64) float64 {
	if y >= q {
		return level * (y - q)
	}
	return (1 - level) * (q - y)
}

func (s scoreboard) trust() Trust {
	if s.Weight < 1 {
		return Trust{Reason: "no forecast has been scored yet"}
	}
	t := Trust{
		Samples: int(s.Weight), Coverage: s.Covered / s.Weight, Pinball: s.Pinball / s.Weight,
		ReactivePinball: s.ReactivePinball / s.Weight, MAE: s.Error / s.Weight, ReactiveMAE: s.ReactiveError / s.Weight,
	}
	switch {
	case t.Samples < 30:
		t.Reason = "too few forecasts have been scored"
	case t.Coverage < 0.85:
		t.Reason = "demand exceeded the 0.95 quantile far too often"
	case t.Pinball > t.ReactivePinball:
		t.Reason = "recent forecasts were worse than repeating the last value"
	default:
		t.Earned, t.Reason = true, "recent forecasts were covered as promised and beat repeating the last value"
	}
	return t
}
