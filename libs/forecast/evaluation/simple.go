package evaluation

// simpleNames are the methods that a user would run without any fitting, as simple returns them.
var simpleNames = [...]string{"last value", "yesterday", "yesterday at today's level", "last week"}

// simple forecasts horizon points after the window by each of them. Without a week of history, last week is yesterday.
func simple(window []float64, task Task) [len(simpleNames)][]float64 {
	y := fillLinear(window)
	n := len(y)
	day := min(task.Day, n)
	week := task.Week
	if week >= n {
		week = day
	}
	hour := max(1, min(day/24, n-day))
	level := 0.0 // by how much the last hour was above the same hour of yesterday
	for i := n - hour; i < n; i++ {
		level += (y[i] - y[max(0, i-day)]) / float64(hour)
	}
	var out [len(simpleNames)][]float64
	for i := range out {
		out[i] = make([]float64, task.Horizon)
	}
	for k := range task.Horizon {
		yesterday := y[n-day+k%day]
		out[0][k], out[1][k], out[2][k], out[3][k] = y[n-1], yesterday, yesterday+level, y[n-week+k%week]
	}
	return out
}
