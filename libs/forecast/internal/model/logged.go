package model

import "math"

// Logged runs a model on the logarithm of the history, so that what it adds multiplies: services grow by percents, and a
// quiet night varies less than a busy noon (Box, Cox 1964, with lambda 0).
type Logged struct {
	data    *Data
	logs    *Data
	offset  float64 // keeps zeros finite
	trainer Trainer
}

// NewLogged wraps the model that of makes of the logarithms; the history must not be negative.
func NewLogged(d *Data, of func(logs *Data) Trainer) *Logged {
	m := &Logged{data: d, logs: &Data{Periods: d.Periods}, offset: logOffset(d.Y)}
	m.extend()
	m.trainer = of(m.logs)
	return m
}

func (m *Logged) Name() string { return m.trainer.Name() }

func (m *Logged) extend() {
	for i := len(m.logs.Y); i < len(m.data.Y); i++ {
		m.logs.Append(math.Log(math.Max(m.data.Y[i], 0)+m.offset), m.data.Missing[i])
	}
}

func (m *Logged) Train(end int) Predictor {
	m.extend()
	return &loggedPredictor{Logged: m, predictor: m.trainer.Train(end)}
}

type loggedPredictor struct {
	*Logged
	predictor Predictor
}

func (p *loggedPredictor) Forecast(origin int, out []float64) {
	p.extend()
	p.predictor.Forecast(origin, out)
	for k, v := range out {
		out[k] = math.Exp(v) - p.offset
	}
}
