package evaluation

import (
	"context"
	"io"
	"math"
	"testing"
)

const dayAheadList = "testdata/day_ahead.csv"

// TestDayAheadListIsWhatItSays: every row looks one day ahead from at least three weeks.
func TestDayAheadListIsWhatItSays(t *testing.T) {
	t.Parallel()
	tasks, err := readTasks(dayAheadList)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if task.Horizon != task.Day || task.Week != 7*task.Day || task.History < 3*task.Week || task.History > 8*task.Week {
			t.Errorf("%s: %d points ahead of %d with %d a day", task.Name, task.Horizon, task.History, task.Day)
		}
	}
}

// TestRealDaysAhead guards what is claimed of a day ahead, on few series and origins: the full figures come from
// `make evaluate-day-ahead`.
func TestRealDaysAhead(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped the day ahead of real series: -short")
	}
	opt := traces(t)
	opt.Origins = 4
	tasks, err := readTasks(dayAheadList)
	if err != nil {
		t.Fatal(err)
	}
	if tasks, err = selectTasks(tasks, []string{"nyc_taxi", "ms_api01", "ms_purchase03"}); err != nil {
		t.Fatal(err)
	}
	results, err := evaluate(context.Background(), opt, tasks, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	names, byName := scores(results)
	var mae, covered, n float64
	for _, name := range names {
		s := byName[name]
		mae += logRatio(s.mae, s.naiveMAE) / float64(len(names))
		covered += s.covered
		n += float64(s.n)
	}
	t.Logf("relMAE %.3f, covered %.3f", math.Exp(mae), covered/n)
	if math.Exp(mae) > 0.55 || covered/n < 0.9 || covered/n > 0.995 {
		t.Error("want relMAE below 0.55 and 0.9 to 0.995 of the values covered")
	}
}
