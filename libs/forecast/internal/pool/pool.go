// Package pool turns one history into a calibrated pool of models: it trains every model at several points of the past,
// forecasts from many origins in between, weights the models by what that backtest shows at each step ahead, and keeps the
// errors of the weighted pool as whole paths, from which quantiles are drawn.
package pool

import (
	"errors"
	"math"
	"slices"

	"github.com/foreshadow/foreshadow/libs/forecast/internal/model"
	"github.com/foreshadow/foreshadow/libs/forecast/internal/period"
)

// MinPoints is the least number of measured points a fit accepts.
const MinPoints = 16

// Reasons why a history cannot be fitted; each reads as the end of a sentence for a person.
var (
	ErrTooShort  = errors.New("too little history")
	ErrAllGaps   = errors.New("the history holds only missing values")
	ErrMostlyGap = errors.New("more than half of the history is missing")
	ErrMethod    = errors.New("there is no such method for this history")
)

// Options say what to fit for.
type Options struct {
	Horizon int    // steps ahead that are weighted and calibrated
	Hints   []int  // cycle lengths worth trying: a day and a week
	Method  string // one model only; empty for the pool
}

// far says that the forecast reaches about a day ahead, where the next days matter and not the next minutes.
func (o Options) far() bool { return len(o.Hints) == 2 && 2*o.Horizon >= o.Hints[0] }

// dayAhead says that it does so for a history that shows both the day and the week.
func (o Options) dayAhead(periods []int) bool { return o.far() && slices.Equal(periods, o.Hints) }

// Pool is a fitted pool. It is not safe for concurrent use.
type Pool struct {
	data    *model.Data
	names   []string
	models  []model.Predictor
	weigher *weigher
	scaler  *scaler
	errs    Errors
	scratch [][]float64
	bounds  bounds
}

// Errors are what the pool missed by in the backtest.
type Errors struct {
	Paths   [][]float64 // [path][step], actual minus forecast
	Origins []int
	Order   [][]int32   // [step], paths ascending by their error at that step
	Sorted  [][]float64 // [step], ascending
	// Scores hold, per backtest origin and step, what trust is judged by at first.
	Scores []Score
}

// Score is one forecast of the backtest beside the reactive one.
type Score struct {
	Actual, Mean, Reactive float64
	Scale                  float64 // paths are errors divided by it
	Step                   int
}

// Fit fits the pool to values, in which NaN marks missing points.
func Fit(values []float64, opt Options) (*Pool, error) {
	data, err := prepare(values)
	if err != nil {
		return nil, err
	}
	data.Periods = periods(data.Y, opt)
	if n := len(data.Periods); n > 0 {
		bridge(data, data.Periods[n-1])
	}
	trainers := lineup(data, opt)
	if len(trainers) == 0 {
		return nil, ErrMethod
	}
	bt := newBacktest(data, opt.Horizon)
	p := &Pool{data: data, bounds: bt.bounds}
	for _, t := range trainers {
		p.names = append(p.names, t.Name())
		bt.run(t)
		p.models = append(p.models, t.Train(len(data.Y)))
	}
	p.weigher = newWeigher(bt, data.Periods, opt.dayAhead(data.Periods))
	p.errs, p.scaler = bt.errors(p.weigher, p.combine)
	p.scratch = make([][]float64, len(p.models))
	return p, nil
}

// periods are the cycles of a history, the shorter first.
func periods(y []float64, opt Options) []int {
	found := period.Detect(y, opt.Hints)
	if opt.far() {
		return period.WithWeek(y, found, opt.Hints[0], opt.Hints[1])
	}
	return found
}

// Append adds the next point; NaN is a missing point, which the pool bridges with its own forecast.
func (p *Pool) Append(v float64) {
	missing := math.IsNaN(v)
	if missing {
		mean, _ := p.Forecast(1)
		v = mean[0]
	}
	p.data.Append(v, missing)
}

// Len is the number of points the pool knows.
func (p *Pool) Len() int { return len(p.data.Y) }

// Last is the latest value, filled if it was missing: the reactive forecast.
func (p *Pool) Last() float64 { return p.data.Y[len(p.data.Y)-1] }

// Forecast returns the central forecast for the next horizon points and the scale of its error paths.
func (p *Pool) Forecast(horizon int) (mean, scale []float64) {
	origin := len(p.data.Y)
	for i, m := range p.models {
		if cap(p.scratch[i]) < horizon {
			p.scratch[i] = make([]float64, horizon)
		}
		p.scratch[i] = p.scratch[i][:horizon]
		m.Forecast(origin, p.scratch[i])
		p.bounds.enforce(p.scratch[i], p.Last())
	}
	mean, scale = make([]float64, horizon), make([]float64, horizon)
	weights := p.weigher.weights(origin, 0)
	restless := restlessness(p.data.Y, origin)
	column := make([]float64, len(p.models))
	for k := range mean {
		for i := range column {
			column[i] = p.scratch[i][k]
		}
		w := weights[min(k, len(weights)-1)]
		mean[k] = p.combine(w, column)
		scale[k] = p.scaler.at(k, disagreement(w, column, mean[k]), restless)
	}
	return mean, scale
}

// combine pools the forecasts of all models for one step by their weighted median, which no single wild model can move.
func (p *Pool) combine(w, column []float64) float64 {
	v := weightedMedian(w, column)
	if p.data.Positive && v < 0 {
		return 0
	}
	return v
}

// Errors returns what the pool missed by in the backtest.
func (p *Pool) Errors() Errors { return p.errs }

// pathFloor is the weight of an error path from another phase of the cycle.
const pathFloor = 0.1

// PathWeights are how much each error path counts for a forecast made now: those from a similar phase count most.
func (p *Pool) PathWeights() []float64 {
	out := make([]float64, len(p.errs.Origins))
	for j, o := range p.errs.Origins {
		out[j] = pathFloor + p.weigher.phaseKernel(o, len(p.data.Y))
	}
	return out
}

// Periods are the cycles found, in points.
func (p *Pool) Periods() []int { return p.data.Periods }

// Positive says that the history never went below zero.
func (p *Pool) Positive() bool { return p.data.Positive }

// Weights returns the models with their mean weight, heaviest first.
func (p *Pool) Weights() (names []string, shares []float64) {
	weights := p.weigher.weights(len(p.data.Y), 0)
	order := make([]int, len(p.names))
	mean := make([]float64, len(p.names))
	for i := range order {
		order[i] = i
		for _, w := range weights {
			mean[i] += w[i] / float64(len(weights))
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case mean[a] > mean[b]:
			return -1
		case mean[a] < mean[b]:
			return 1
		}
		return 0
	})
	for _, i := range order {
		names, shares = append(names, p.names[i]), append(shares, mean[i])
	}
	return names, shares
}
