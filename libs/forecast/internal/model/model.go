// Package model holds the forecasting methods of the pool. Each is one small file that names its source.
//
// A Trainer sees one growing history and learns from a prefix of it; what it learnt, a Predictor, forecasts from any origin
// at or after that prefix without being fitted again. That is what makes a rolling-origin backtest over hundreds of origins
// and a forecast every second cheap. Trainers and predictors only ever read values before the origin asked for.
package model

// Data is the history that all models of one fit share. Y has no gaps (they were filled); Missing marks the filled points,
// which are never learnt from as targets.
type Data struct {
	Y       []float64
	Missing []bool
	// Periods are the cycle lengths in points, ascending; it may be empty.
	Periods []int
	// Positive says that no value is negative, so that logarithms and multiplicative forms make sense.
	Positive bool
}

// Append adds the next point to the history.
func (d *Data) Append(v float64, missing bool) {
	d.Y = append(d.Y, v)
	d.Missing = append(d.Missing, missing)
}

// Trainer learns one model from the points before end; the ends of successive calls never decrease.
type Trainer interface {
	Name() string
	Train(end int) Predictor
}

// Predictor writes the forecast for the points origin, origin+1, ... of the history, knowing only those before origin.
type Predictor interface {
	Forecast(origin int, out []float64)
}

// lastSeen returns the index of the latest known point that lies whole cycles before target.
func lastSeen(target, origin, period int) int {
	return target - period*((target-origin)/period+1)
}
