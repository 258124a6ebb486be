package model

import "math"

// Deviations are regressors for forecasts about a day ahead: the target is what a profile of the week leaves, and the features
// are what it has left lately, at the same hour and around it, in the last hours, days and week. The profile is a mean of the
// same step of earlier weeks that forgets exponentially; what it is off by persists in part, and how much of which part, and
// for how long, is what the regression learns (as adjustments for the latest days in load forecasting: Taylor 2003; Hong,
// Fan 2016, section 4). Everything is linear in the values: give it logarithms to have it in proportions.
type Deviations struct {
	data   *Data
	day    int
	week   phaseMean
	days   phaseMean // over all days alike
	left   []float64 // value less the week's profile as known before it
	prefix []float64 // prefix[i] = sum of left[:i]
}

// NewDeviations are the deviations from a week of the given length, made of days, in points. After halfLife weeks a week
// counts half.
func NewDeviations(d *Data, day, week int, halfLife float64) *Deviations {
	const daysLearnt = 3 // half life of the profile over all days, in days
	return &Deviations{
		data: d, day: day, prefix: []float64{0},
		week: phaseMean{period: week, keep: math.Exp2(-1 / halfLife)},
		days: phaseMean{period: day, keep: math.Exp2(-1.0 / daysLearnt)},
	}
}

// deviationWidth is the number of features of a row.
const deviationWidth = 9

// Width is the number of features of a row.
func (f *Deviations) Width() int { return deviationWidth }

// First is the first origin before which a day was compared with a week before it.
func (f *Deviations) First() int { return f.week.period + f.day }

func (f *Deviations) missing(i int) bool { return f.data.Missing[i] }

func (f *Deviations) extend() {
	for i := len(f.left); i < len(f.data.Y); i++ {
		v := f.data.Y[i]
		left := v - f.profile(i, i)
		f.left = append(f.left, left)
		f.prefix = append(f.prefix, f.prefix[i]+left)
		f.week.append(v, f.data.Missing[i])
		f.days.append(v, f.data.Missing[i])
	}
}

// profile is what the weeks before origin say of target, or the days where there is no week yet.
func (f *Deviations) profile(target, origin int) float64 {
	if v, ok := f.week.at(target, origin); ok {
		return v
	}
	return f.usual(target, origin)
}

// usual is what the days before origin say of target, whatever day of the week it is.
func (f *Deviations) usual(target, origin int) float64 {
	if v, ok := f.days.at(target, origin); ok {
		return v
	}
	return f.data.Y[max(origin-1, 0)]
}

// mean is the average deviation of the points [from, to), as far as they exist, 0 where there is none.
func (f *Deviations) mean(from, to int) float64 {
	from = max(from, 0)
	if from >= to {
		return 0
	}
	return (f.prefix[to] - f.prefix[from]) / float64(to-from)
}

// Row fills x with the features for step k (0-based) from origin and returns the deviation of the target, NaN when it is not
// known yet.
func (f *Deviations) Row(origin, k int, x []float64) float64 {
	target := origin + k
	around := max(1, f.day/8)
	yesterday := max(lastSeen(target, origin, f.day), 0)
	lastWeek := max(lastSeen(target, origin, f.week.period), 0)
	base := f.profile(target, origin)
	copy(x, []float64{
		f.mean(origin-max(1, f.day/24), origin),
		f.mean(origin-around, origin),
		f.mean(origin-f.day, origin),
		f.mean(origin-2*f.day, origin-f.day),
		f.mean(origin-f.week.period, origin),
		f.left[yesterday],
		f.mean(yesterday-around, min(yesterday+around, origin)),
		f.left[lastWeek],
		f.usual(target, origin) - base,
	})
	if target < len(f.data.Y) {
		return f.data.Y[target] - base
	}
	return math.NaN()
}

// Restore adds the profile.
func (f *Deviations) Restore(origin, k int, deviation float64) float64 {
	return f.profile(origin+k, origin) + deviation
}

// phaseMean is an exponentially forgetting mean of the values at each phase of a cycle, as known after each point.
type phaseMean struct {
	period      int
	keep        float64 // what is left of a weight after one cycle
	sum, weight []float64
}

func (m *phaseMean) append(v float64, missing bool) {
	i := len(m.sum)
	sum, weight := 0.0, 0.0
	if i >= m.period {
		sum, weight = m.sum[i-m.period], m.weight[i-m.period]
	}
	if !missing {
		sum, weight = m.keep*sum+v, m.keep*weight+1
	}
	m.sum, m.weight = append(m.sum, sum), append(m.weight, weight)
}

// at is the mean of the phase of target over the cycles before origin; false when it was never measured.
func (m *phaseMean) at(target, origin int) (float64, bool) {
	i := lastSeen(target, origin, m.period)
	if i < 0 || m.weight[i] == 0 {
		return 0, false
	}
	return m.sum[i] / m.weight[i], true
}
