package evaluation

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noisyDays writes a list with one series whose days are alike, and returns the options to evaluate it.
func noisyDays(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	b.WriteString("timestamp,value\n")
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for i := range 24 * 40 {
		v := 100 - 50*math.Cos(2*math.Pi*float64(i)/24) + 10*rng.NormFloat64()
		fmt.Fprintf(&b, "%s,%g\n", at.Add(time.Duration(i)*time.Hour).Format(time.RFC3339), v)
	}
	write(t, filepath.Join(dir, "days.csv"), b.String())
	write(t, filepath.Join(dir, "list.csv"), "name,file,agg,m,mw,h,hist\ndays,days.csv,1,24,168,12,600\n")
	return Options{Series: filepath.Join(dir, "list.csv"), Dir: dir, Origins: 5}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRunWritesResultsAndSummary(t *testing.T) {
	t.Parallel()
	opt := noisyDays(t)
	write(t, filepath.Join(opt.Dir, "baselines.csv"), "series,method,relMAE,relPB,cov\ndays,naive,2,3,0.5\nelsewhere,naive,1,1,1\n")
	var out, table bytes.Buffer
	opt.Results = &table
	if err := Run(context.Background(), opt, &out); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+5*12 || strings.Join(rows[0], ",") != "series,method,origin,h,y,mean,q95,seconds" {
		t.Fatalf("%d rows, header %v", len(rows), rows[0])
	}
	if first := rows[1]; first[0] != "days" || first[1] != "pool" || first[2] != "600" || first[3] != "1" {
		t.Errorf("first row %v", first)
	}
	var relMAE float64
	for _, line := range strings.Split(out.String(), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "pool" {
			fmt.Sscan(fields[1], &relMAE)
		}
	}
	// Repeating a noisy day costs the noise twice, its mean over many days once: 1/sqrt(2) is what a perfect model reaches.
	if relMAE < 0.6 || relMAE > 0.85 {
		t.Errorf("relMAE %v, want it between 0.6 and 0.85 for equal days with white noise\n%s", relMAE, out.String())
	}
	if !strings.Contains(out.String(), "naive (1 series)") {
		t.Errorf("summary lacks the public figures:\n%s", out.String())
	}
}

func TestRunNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, o *Options)
		want  string
	}{
		"no list":   {func(_ *testing.T, o *Options) { o.Series += "x" }, "open list of series"},
		"no series": {func(_ *testing.T, o *Options) { o.Dir += "x" }, "open series days"},
		"columns":   {func(t *testing.T, o *Options) { write(t, o.Series, "a,b\n") }, `line 1: the header is "a,b", want name,file,agg,m,mw,h,hist`},
		"number": {func(t *testing.T, o *Options) {
			write(t, o.Series, "name,file,agg,m,mw,h,hist\ndays,days.csv,1,0,168,12,600\n")
		}, `line 2: m "0": want a positive whole number`},
		"fields": {func(t *testing.T, o *Options) { write(t, o.Series, "name,file,agg,m,mw,h,hist\na,days.csv,1,24\n") }, "line 2: 4 fields, want name,file,agg,m,mw,h,hist"},
		"history": {func(t *testing.T, o *Options) {
			write(t, o.Series, "name,file,agg,m,mw,h,hist\na,days.csv,1,24,168,1,3\n")
		}, "history 3: must be 32 to"},
		"too long": {func(t *testing.T, o *Options) {
			write(t, o.Series, "name,file,agg,m,mw,h,hist\ndays,days.csv,1,24,168,12,6000\n")
		}, "960 points, h and hist need 6012"},
		"no rows":   {func(t *testing.T, o *Options) { write(t, o.Series, taskColumns+"\n") }, "list.csv: the list has no rows"},
		"no file":   {func(t *testing.T, o *Options) { write(t, o.Series, taskColumns+"\ndays, ,1,24,168,12,600\n") }, "line 2: file: is missing"},
		"directory": {func(_ *testing.T, o *Options) { o.Series = o.Dir }, "is a directory"},
		"method":    {func(_ *testing.T, o *Options) { o.Method = "oracle" }, `method "oracle": there is no such method for this history; there are naive, ses, `},
		"only":      {func(_ *testing.T, o *Options) { o.Only = []string{"days", "nights"} }, `the list has no series "nights"`},
		"twice": {func(t *testing.T, o *Options) {
			write(t, o.Series, "name,file,agg,m,mw,h,hist\ndays,days.csv,1,24,168,12,600\ndays,days.csv,1,24,168,6,600\n")
		}, `line 3: name "days": appears twice`},
		"origins": {func(_ *testing.T, o *Options) { o.Origins = -1 }, "origins -1"},
	} {
		opt := noisyDays(t)
		tc.spoil(t, &opt)
		err := Run(context.Background(), opt, &bytes.Buffer{})
		var input *InputError
		if !errors.As(err, &input) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one of the input about %q", name, err, tc.want)
		}
	}
}

// TestMethodsExist asks for each by name, of a series that has a cycle of a day.
func TestMethodsExist(t *testing.T) {
	t.Parallel()
	opt := noisyDays(t)
	opt.Origins = 1
	elsewhere := map[string]bool{
		"analog_log": true,                      // without a cycle
		"week":       true, "week_recent": true, // a day ahead
		"seasonal_ar": true, "analog_phase": true, // where a value is zero
	}
	for _, method := range Methods() {
		opt.Method = method
		if err := Run(context.Background(), opt, io.Discard); (err != nil) != elsewhere[method] {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestAMethodIsScoredWhereItExists(t *testing.T) {
	t.Parallel()
	opt := noisyDays(t)
	var degrees strings.Builder
	degrees.WriteString("timestamp,value\n")
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range 24 * 40 {
		fmt.Fprintf(&degrees, "%d,%g\n", 1767571200+3600*i, 10*math.Cos(2*math.Pi*float64(i)/24)+rng.NormFloat64())
	}
	write(t, filepath.Join(opt.Dir, "degrees.csv"), degrees.String())
	write(t, opt.Series, "name,file,agg,m,mw,h,hist\ndays,days.csv,1,24,168,12,600\ndegrees,degrees.csv,1,24,168,12,600\n")
	opt.Method = "ridge_log"
	var out, table bytes.Buffer
	opt.Results = &table
	if err := Run(context.Background(), opt, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "5 of 10 forecasts are left out") || strings.Contains(table.String(), "degrees") {
		t.Errorf("a method of logarithms on a series below zero:\n%s", out.String())
	}
}

// TestNoRatioOfNothing: errors cannot be compared with those of a method that makes none.
func TestNoRatioOfNothing(t *testing.T) {
	t.Parallel()
	flat := []float64{5}
	results := []result{
		{task: Task{Name: "flat"}, actual: flat, mean: flat, upper: flat, naive: flat, naiveUp: flat, simple: [len(simpleNames)][]float64{flat, flat, flat, flat}},
		{task: Task{Name: "missed"}, actual: flat, mean: []float64{6}, upper: flat, naive: flat, naiveUp: flat, simple: [len(simpleNames)][]float64{flat, flat, flat, flat}},
		{task: Task{Name: "half"}, actual: flat, mean: []float64{6}, upper: []float64{6}, naive: []float64{7}, naiveUp: []float64{7},
			simple: [len(simpleNames)][]float64{{7}, {7}, {7}, {7}}},
	}
	var out bytes.Buffer
	if err := summarize(Options{Series: filepath.Join(t.TempDir(), "list.csv")}, results, &out); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"flat - - 1.000 - last value 1.00", "pool 0.500 0.500 1.000", "makes no error on them: flat, missed", "1 of 3 series are worse than 1.05",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("summary lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(text, "NaN") {
		t.Error(text)
	}
}

func TestRunStopsWhenCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Run(ctx, noisyDays(t), &bytes.Buffer{}); err == nil {
		t.Error("a cancelled run succeeded")
	}
}

func TestSimpleMethods(t *testing.T) {
	t.Parallel()
	window := make([]float64, 24*15)
	for i := range window {
		window[i] = float64(i%24) + 100*float64(i/24) // every day is 100 above the one before
	}
	got := simple(window, Task{Day: 24, Week: 168, Horizon: 2})
	want := [...][]float64{{1423, 1423}, {1400, 1401}, {1500, 1501}, {800, 801}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%v (-want +got):\n%s", simpleNames, diff)
	}
	short := simple(window[:30], Task{Day: 24, Week: 168, Horizon: 1})
	if short[3][0] != short[1][0] {
		t.Errorf("without a week of history last week is %v, want yesterday's %v", short[3][0], short[1][0])
	}
}

func TestSummaryCountsWhatASimpleMethodBeats(t *testing.T) {
	t.Parallel()
	results := []result{
		{task: Task{Name: "good"}, actual: []float64{10}, mean: []float64{10.4}, upper: []float64{12}, naive: []float64{12}, naiveUp: []float64{13},
			simple: [len(simpleNames)][]float64{{15}, {12}, {10.5}, {20}}},
		{task: Task{Name: "bad"}, actual: []float64{10}, mean: []float64{11}, upper: []float64{12}, naive: []float64{12}, naiveUp: []float64{13},
			simple: [len(simpleNames)][]float64{{10.5}, {12}, {14}, {20}}},
	}
	var out bytes.Buffer
	if err := summarize(Options{Series: filepath.Join(t.TempDir(), "list.csv")}, results, &out); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"yesterday at today's level 0.80", "last value 2.00", "1 of 2 series are worse than 1.05 times their own best simple method"} {
		if !strings.Contains(text, want) {
			t.Errorf("summary lacks %q:\n%s", want, out.String())
		}
	}
}

func TestWhatWasKnownBeforehandCounts(t *testing.T) {
	t.Parallel()
	opt := noisyDays(t)
	opt.Origins = 1 // from the last origin, the evening of the last day is forecast
	path := filepath.Join(opt.Dir, "days.csv")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := len(lines) - 6; i < len(lines); i++ {
		at, v, _ := strings.Cut(lines[i], ",")
		var demand float64
		fmt.Sscan(v, &demand)
		lines[i] = fmt.Sprintf("%s,%g", at, 3*demand)
	}
	write(t, path, strings.Join(lines, "\n"))
	missed := func(c calendar.Calendar) float64 {
		opt.Calendar = c
		tasks, err := readTasks(opt.Series)
		if err != nil {
			t.Fatal(err)
		}
		results, err := evaluate(context.Background(), opt, tasks, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		_, byName := scores(results)
		return byName["days"].mae
	}
	blind := missed(calendar.Calendar{})
	told := missed(calendar.Calendar{Events: []calendar.Event{{Name: "launch", Start: "2026-02-13 18:00", Multiplier: new(3.0)}}})
	if told > blind/3 {
		t.Errorf("error %.0f with the launch in the calendar, %.0f without", told, blind)
	}
}
