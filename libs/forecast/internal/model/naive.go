package model

// Naive repeats the last value (Hyndman, Athanasopoulos, "Forecasting: Principles and Practice", 3rd ed., ch. 5.2).
type Naive struct{ Data *Data }

func (m Naive) Name() string        { return "naive" }
func (m Naive) Train(int) Predictor { return m }

func (m Naive) Forecast(origin int, out []float64) {
	for k := range out {
		out[k] = m.Data.Y[origin-1]
	}
}

// SeasonalNaive repeats the last cycle (ibid.).
type SeasonalNaive struct {
	Data   *Data
	Period int
	Label  string
}

func (m SeasonalNaive) Name() string        { return m.Label }
func (m SeasonalNaive) Train(int) Predictor { return m }

func (m SeasonalNaive) Forecast(origin int, out []float64) {
	for k := range out {
		out[k] = m.Data.Y[max(lastSeen(origin+k, origin, m.Period), 0)]
	}
}

// Profile is the mean of the same phase over earlier cycles: where the present level says nothing about tomorrow's.
type Profile struct {
	Data   *Data
	Period int
	Cycles int
	Label  string
}

func (m Profile) Name() string        { return m.Label }
func (m Profile) Train(int) Predictor { return m }

func (m Profile) Forecast(origin int, out []float64) {
	for k := range out {
		out[k] = m.at(origin+k, origin)
	}
}

// at is the mean of up to Cycles values before origin at the phase of target, 0 when there is none.
func (m Profile) at(target, origin int) float64 {
	sum, n := 0.0, 0
	for i := lastSeen(target, origin, m.Period); i >= 0 && n < m.Cycles; i -= m.Period {
		sum += m.Data.Y[i]
		n++
	}
	return sum / max(1, float64(n))
}
