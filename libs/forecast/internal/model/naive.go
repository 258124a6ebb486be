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
