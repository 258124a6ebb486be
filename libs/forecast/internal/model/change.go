package model

import "slices"

// SeasonalChange starts at the last value and moves as the same hours moved in earlier cycles: by the mean of their changes,
// or by the median, which one odd day does not touch.
type SeasonalChange struct {
	Data   *Data
	Period int
	Cycles int
	Median bool
	Smooth int // the start is the mean of this many last values
	Label  string
}

func (m SeasonalChange) Name() string        { return m.Label }
func (m SeasonalChange) Train(int) Predictor { return m }

func (m SeasonalChange) Forecast(origin int, out []float64) {
	y := m.Data.Y
	start := m.level(origin)
	changes := make([]float64, 0, m.Cycles)
	for k := range out {
		changes = changes[:0]
		for at := lastSeen(origin+k, origin, m.Period); at-k-m.Smooth >= 0 && len(changes) < m.Cycles; at -= m.Period {
			changes = append(changes, y[at]-m.level(at-k))
		}
		out[k] = start
		if len(changes) == 0 {
			continue
		}
		if m.Median {
			slices.Sort(changes)
			out[k] += (changes[(len(changes)-1)/2] + changes[len(changes)/2]) / 2
			continue
		}
		sum := 0.0
		for _, c := range changes {
			sum += c
		}
		out[k] += sum / float64(len(changes))
	}
}

// level is the mean of the last values before origin.
func (m SeasonalChange) level(origin int) float64 {
	sum := 0.0
	for i := origin - m.Smooth; i < origin; i++ {
		sum += m.Data.Y[max(i, 0)]
	}
	return sum / float64(m.Smooth)
}
