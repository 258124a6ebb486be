package backtest

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	calls, all := 0, 0
	s := Suite{
		Startups: []time.Duration{time.Minute, 5 * time.Minute}, Instances: []int{40}, Options: quick(),
		Progress: func(_, n int) { calls, all = calls+1, n },
	}
	s.Options.Policies = []string{Oracle, "Static"}
	rows, err := s.Run(context.Background(), []Named{
		{"shop", shop(5, 5*time.Minute)}, {"empty", forecast.Series{Step: time.Minute}},
	})
	if err == nil || err.Error() != "empty: prepare demand: the series holds no demand" {
		t.Errorf("error %v, want one that names the empty series", err)
	}
	if len(rows) != 2 || rows[1].StartupSeconds != 300 || calls != 2 || all != 2 {
		t.Fatalf("%d rows, told %d times of %d: %+v", len(rows), calls, all, rows)
	}
	r := rows[1]
	if r.Series != "shop" || r.HPAViolated <= 0 || !(r.AtCost >= 0 && r.AtCost < 1) || r.OracleAtCost > r.AtCost ||
		r.DefaultCost <= 0 || r.Pinball <= 0 || len(r.Others) != 2 {
		t.Errorf("%+v", r)
	}
	var table, js bytes.Buffer
	if err := rows.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"shop", "start-up 300 s, fleet of 40, 1 series", "at the default setting", "over every second series", "HPA acts/day"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	if err := rows.WriteJSON(&js); err != nil || !json.Valid(js.Bytes()) {
		t.Errorf("JSON: %v", err)
	}
}

// What is kept serves other start-up times, which see what they would have seen without it.
func TestSuiteOverKeptForecasts(t *testing.T) {
	t.Parallel()
	s := Suite{Startups: []time.Duration{time.Minute}, Instances: []int{40}, Options: quick()}
	s.Options.Tick, s.Options.Policies, s.Options.Forecasts = 5*time.Minute, []string{Oracle}, t.TempDir()
	series := []Named{{"long", shop(3, 5*time.Minute)}, {"short", shop(2, 5*time.Minute)}}
	if _, err := s.Run(context.Background(), series); err != nil {
		t.Fatal(err)
	}
	s.Startups, s.Instances = []time.Duration{10 * time.Minute}, []int{10}
	kept, err := s.Run(context.Background(), series)
	if err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(s.Options.Forecasts); err != nil || len(files) != len(series) {
		t.Errorf("%d files for %d series: %v", len(files), len(series), err)
	}
	s.Options.Forecasts = ""
	fresh, err := s.Run(context.Background(), series)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(fresh, kept); d != "" || kept[0].Series != "long" || kept[1].Series != "short" {
		t.Errorf("%+v\n%s", kept, d)
	}
}

func TestSummaries(t *testing.T) {
	t.Parallel()
	row := func(startup, hpa, ratio, cost, pinball float64) Standing {
		return Standing{
			StartupSeconds: startup, Instances: 40, HPAActions: 20 * hpa, HPAViolated: hpa, AtCost: ratio, AtViolations: cost, OracleAtCost: 0,
			OracleViolations: 0.9, Actions: 2, DefaultViolated: 0.5, Pinball: pinball,
		}
	}
	rows := Standings{
		row(30, 0.1, 0.04, 0.9, 0.7), row(30, 0.1, 0.0001, 1, 0.9), row(60, 0.1, 1.2, 1.02, 0), row(30, 0, 1, 0.8, 0),
		row(60, 0.1, -1, -1, 0.1),
	}
	rows[1].Actions, rows[3].Actions = 0.5, 100 // the HPA never acts on the latter
	got := rows.Summaries()
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-3 })
	want := []Summary{
		{
			StartupSeconds: 30, Instances: 40, Series: 3, AtCost: 0.02, Forecastable: 0.04, ForecastableSeries: 1, OracleAtCost: 0.01,
			DefaultViolated: 0.5, AtViolations: math.Cbrt(0.72), OracleViolations: 0.9, Actions: 1, WorstActions: 2,
			Halves: [2]float64{0.04, 0.01},
		},
		// A policy that never gets as cheap counts as no better.
		{
			StartupSeconds: 60, Instances: 40, Series: 2, AtCost: math.Sqrt(1.2), Forecastable: 1, ForecastableSeries: 1, OracleAtCost: 0.01,
			DefaultViolated: 0.5, AtViolations: 1.02, OracleViolations: 0.9, Actions: 2, WorstActions: 2, Worse: 2, Dearer: 2,
			Halves: [2]float64{1.2, 1},
		},
	}
	if d := cmp.Diff(want, got, near); d != "" {
		t.Error(d)
	}
}
