package model

import "math"

// Decomposition is the decomposition of a series into trend, one season per period and a remainder by locally weighted
// regression (STL: Cleveland, Cleveland, McRae, Terpenning 1990; several periods in turn, MSTL: Bandara, Hyndman, Bergmeir
// 2021), whose seasons are repeated and whose seasonally adjusted series is continued by an autoregression, or by simple
// exponential smoothing with a damped trend.
type Decomposition struct {
	Data     *Data
	Periods  []int
	MaxOrder int // 0: exponential smoothing
	Label    string
}

func (m Decomposition) Name() string { return m.Label }

const (
	seasonSpan   = 11 // cycles that shape one season; odd
	stlRounds    = 2
	loessJumps   = 12 // a smooth curve is fitted at every span/loessJumps-th point and interpolated
	decomposeFor = 2  // rounds over several periods
)

// Train decomposes the points before end. A period that was not seen twice is left out.
func (m Decomposition) Train(end int) Predictor {
	y := m.Data.Y[:end]
	var periods []int
	for _, p := range m.Periods {
		if end >= 2*p {
			periods = append(periods, p)
		}
	}
	seasons := decompose(y, periods)
	last := make([][]float64, len(periods)) // by phase
	for j, p := range periods {
		last[j] = make([]float64, p)
		for i := end - p; i < end; i++ {
			last[j][i%p] = seasons[j][i]
		}
	}
	season := func(i int) float64 {
		sum := 0.0
		for j, p := range periods {
			if i < end {
				sum += seasons[j][i]
			} else {
				sum += last[j][i%p]
			}
		}
		return sum
	}
	if m.MaxOrder > 0 {
		return newRemainder(m.Data, end, m.MaxOrder, season)
	}
	adjusted := &Data{Y: make([]float64, end), Missing: m.Data.Missing[:end:end]}
	for i := range adjusted.Y {
		adjusted.Y[i] = y[i] - season(i)
	}
	return &adjustedPredictor{data: m.Data, adjusted: adjusted, season: season,
		level: HoltWinters{Data: adjusted}.Train(end)}
}

type adjustedPredictor struct {
	data, adjusted *Data
	season         func(int) float64
	level          Predictor
}

func (p *adjustedPredictor) Forecast(origin int, out []float64) {
	for i := len(p.adjusted.Y); i < origin; i++ {
		p.adjusted.Append(p.data.Y[i]-p.season(i), false)
	}
	p.level.Forecast(origin, out)
	for k := range out {
		out[k] += p.season(origin + k)
	}
}

// decompose returns the season of each period.
func decompose(y []float64, periods []int) [][]float64 {
	seasons := make([][]float64, len(periods))
	for j := range seasons {
		seasons[j] = make([]float64, len(y))
	}
	rounds := 1
	if len(periods) > 1 {
		rounds = decomposeFor
	}
	rest := append([]float64(nil), y...)
	for range rounds {
		for j, p := range periods {
			for i := range rest {
				rest[i] += seasons[j][i]
			}
			seasons[j] = seasonOf(rest, p)
			for i := range rest {
				rest[i] -= seasons[j][i]
			}
		}
	}
	return seasons
}

// seasonOf is the inner loop of STL.
func seasonOf(y []float64, period int) []float64 {
	n := len(y)
	trend := make([]float64, n)
	season := make([]float64, n)
	trendSpan := nextOdd(1.5 * float64(period) / (1 - 1.5/float64(seasonSpan)))
	detrended := make([]float64, n)
	for range stlRounds {
		for i := range detrended {
			detrended[i] = y[i] - trend[i]
		}
		cycles := smoothPhases(detrended, period)
		low := loess(average(average(average(cycles, period), period), 3), nextOdd(float64(period)))
		for i := range season {
			season[i] = cycles[i+period] - low[i]
			detrended[i] = y[i] - season[i]
		}
		trend = loess(detrended, trendSpan)
	}
	return season
}

// smoothPhases smooths the values of each phase over the cycles and extends them by one cycle at either end.
func smoothPhases(y []float64, period int) []float64 {
	out := make([]float64, len(y)+2*period)
	for phase := range period {
		var x []float64
		for i := phase; i < len(y); i += period {
			x = append(x, y[i])
		}
		for j := -1; j <= len(x); j++ {
			if at := phase + (j+1)*period; at < len(out) {
				out[at] = loessAt(x, float64(j), seasonSpan)
			}
		}
	}
	return out
}

// average is the moving mean of span points; the result is span-1 points shorter.
func average(y []float64, span int) []float64 {
	out := make([]float64, len(y)-span+1)
	sum := 0.0
	for i, v := range y {
		sum += v
		if i >= span {
			sum -= y[i-span]
		}
		if i >= span-1 {
			out[i-span+1] = sum / float64(span)
		}
	}
	return out
}

func nextOdd(v float64) int { return int(math.Ceil(v))/2*2 + 1 }

// loess smooths y by locally weighted lines.
func loess(y []float64, span int) []float64 {
	out := make([]float64, len(y))
	jump := max(1, span/loessJumps)
	last := 0
	for i := 0; i < len(y); i += jump {
		out[i] = loessAt(y, float64(i), span)
		fill(out, last, i)
		last = i
	}
	if end := len(y) - 1; end > last {
		out[end] = loessAt(y, float64(end), span)
		fill(out, last, end)
	}
	return out
}

// fill interpolates between two points.
func fill(y []float64, from, to int) {
	for i := from + 1; i < to; i++ {
		y[i] = y[from] + (y[to]-y[from])*float64(i-from)/float64(to-from)
	}
}

// loessAt is the value at x of the line fitted to the span points nearest to it with tricube weights.
func loessAt(y []float64, x float64, span int) float64 {
	n := len(y)
	count := min(span, n)
	from := min(max(int(x)-count/2, 0), n-count)
	reach := math.Max(x-float64(from), float64(from+count-1)-x)
	if span > n {
		reach += float64((span - n) / 2)
	}
	var sw, sx, sy, sxx, sxy float64
	for i := from; i < from+count; i++ {
		d := math.Abs(float64(i)-x) / (reach + 1e-9)
		if d >= 1 {
			d = 0.999
		}
		w := 1 - d*d*d
		w = w * w * w
		t := float64(i) - x
		sw += w
		sx += w * t
		sy += w * y[i]
		sxx += w * t * t
		sxy += w * t * y[i]
	}
	det := sw*sxx - sx*sx
	if det <= 1e-9*sw*sxx || sw == 0 {
		return sy / sw
	}
	return (sxx*sy - sx*sxy) / det
}
