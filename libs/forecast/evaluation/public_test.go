package evaluation

import (
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

// traces finds the development series beside the repository; they are not part of it.
func traces(t *testing.T) Options {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if list := filepath.Join(dir, "shared", "traces", "evaluation.csv"); exists(list) {
			return Options{Series: list, Dir: filepath.Join(filepath.Dir(list), "series")}
		}
		if dir == filepath.Dir(dir) {
			t.Skip("skipped the figures on real series: no folder shared/traces above this one")
		}
		dir = filepath.Dir(dir)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestRealSeries guards what the README claims, on few origins: the full figures come from `foreshadow evaluate`.
func TestRealSeries(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped the figures on real series: -short")
	}
	opt := traces(t)
	opt.Origins = 4
	tasks, err := readTasks(opt.Series)
	if err != nil {
		t.Fatal(err)
	}
	results, err := evaluate(context.Background(), opt, tasks, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	names, byName := scores(results)
	var mae, pb, covered, n float64
	for _, name := range names {
		s := byName[name]
		mae += logRatio(s.mae, s.naiveMAE) / float64(len(names))
		pb += logRatio(s.pb, s.naivePB) / float64(len(names))
		covered += s.covered
		n += float64(s.n)
	}
	t.Logf("relMAE %.3f, relPB %.3f, covered %.3f", math.Exp(mae), math.Exp(pb), covered/n)
	if math.Exp(mae) > 0.5 || math.Exp(pb) > 0.5 || covered/n < 0.92 || covered/n > 0.98 {
		t.Error("want relMAE and relPB below 0.5 and 0.92 to 0.98 of the values covered")
	}
}

// TestRealMaximaAreCovered checks the quantile scaling rests on, that of the highest value over the horizon.
func TestRealMaximaAreCovered(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped the maxima of real series: -short")
	}
	opt := traces(t)
	tasks, err := readTasks(opt.Series)
	if err != nil {
		t.Fatal(err)
	}
	covered, n := 0.0, 0.0
	for _, task := range tasks {
		s, err := task.load(opt.Dir)
		if err != nil {
			t.Fatal(err)
		}
		e, err := forecast.New(forecast.Config{Step: s.Step, History: task.History, Horizon: task.Horizon, MaxStale: task.History})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Load(forecast.Series{Start: s.Start, Step: s.Step, Values: s.Values[:task.History]}); err != nil {
			t.Fatal(err)
		}
		for i := task.History; i < min(len(s.Values)-task.Horizon, task.History+288); i++ {
			f, err := e.Forecast(s.Time(i), task.Horizon)
			if err != nil {
				t.Fatal(task.Name, err)
			}
			peak := math.Inf(-1)
			for _, v := range s.Values[i : i+task.Horizon] {
				if v > peak {
					peak = v
				}
			}
			n++
			if peak <= f.MaxQuantile(0, task.Horizon-1, level) {
				covered++
			}
			if err := e.Observe(s.Start.Add(time.Duration(i)*s.Step), s.Values[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%.3f of %.0f maxima covered", covered/n, n)
	if covered/n < 0.92 || covered/n > 0.985 {
		t.Errorf("%.3f of the maxima lie under their 0.95 quantile", covered/n)
	}
}
