// Package evaluation measures a forecasting method on a list of real series by rolling origin: from many points of the past
// it forecasts what is already known, from nothing but what was known then, and compares the errors with those of repeating
// yesterday. Fits run in parallel on GOMAXPROCS processors; equal input gives equal results.
package evaluation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
	"github.com/foreshadow/foreshadow/libs/forecast/internal/pool"
)

// Options say what to evaluate.
type Options struct {
	Series   string            // CSV list of evaluations: name,file,agg,m,mw,h,hist
	Dir      string            // where the files of the list are
	Origins  int               // forecasts per series; 0 means 20
	Results  io.Writer         // of CSV: series,method,origin,h,y,mean,q95,seconds; nil writes none
	Method   string            // one model of the pool; empty means the pool itself
	Calendar calendar.Calendar // what was known beforehand; empty means nothing
	Only     []string          // names of series to restrict the run to; empty means all
}

// InputError is a fault of the list, of a series or of what was asked of them, found before anything was forecast.
type InputError struct{ err error }

func (e *InputError) Error() string { return e.err.Error() }
func (e *InputError) Unwrap() error { return e.err }

// level is the quantile that is scored.
const level = 0.95

// result is one forecast beside what happened.
type result struct {
	task    Task
	origin  int
	actual  []float64
	mean    []float64
	upper   []float64
	naive   []float64 // repeating yesterday
	naiveUp []float64
	simple  [len(simpleNames)][]float64
	seconds float64
	without bool // the method does not exist for this history
}

// Run evaluates and writes the table of results to Results and a summary to stdout. When stdout is a terminal it shows progress.
// A method that some histories do not have, such as a seasonal one, is scored on the others.
func Run(ctx context.Context, opt Options, stdout io.Writer) error {
	if opt.Origins == 0 {
		opt.Origins = 20
	}
	if opt.Origins < 1 {
		return &InputError{fmt.Errorf("origins %d: must be positive", opt.Origins)}
	}
	tasks, err := readTasks(opt.Series)
	if err != nil {
		return &InputError{err}
	}
	if tasks, err = selectTasks(tasks, opt.Only); err != nil {
		return &InputError{fmt.Errorf("read %s: %w", opt.Series, err)}
	}
	results, err := evaluate(ctx, opt, tasks, stdout)
	if err != nil {
		return err
	}
	made := slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.without })
	if len(made) == 0 {
		return &InputError{fmt.Errorf("method %q: %w; there are %s", opt.Method, pool.ErrMethod, strings.Join(Methods(), ", "))}
	}
	if opt.Results != nil {
		if err := writeResults(opt.Results, methodName(opt), made); err != nil {
			return err
		}
	}
	if err := summarize(opt, made, stdout); err != nil {
		return err
	}
	if n := len(results) - len(made); n > 0 {
		_, err = fmt.Fprintf(stdout, "%d of %d forecasts are left out: the method does not exist for their histories\n", n, len(results))
	}
	return err
}

// Methods are the models that can be asked for by name. Those of a cycle exist where one was found, with "_second" behind the
// name for a second one; those of logarithms where all values are positive; the last two a day ahead from weeks of history.
func Methods() []string {
	return []string{
		"naive", "ses", "ar", "ridge", "ridge_log", "analog", "analog_long", "analog_log", "harmonic", "harmonic_log",
		"snaive", "profile", "change", "change_median", "change_recent", "seasonal_ar", "seasonal_ar_log", "analog_phase", "analog_phase_log",
		"holt", "ets", "theta", "stl_ets", "stl_ar", "holt_winters", "snaive_level", "week", "week_recent",
	}
}

func methodName(opt Options) string {
	if opt.Method == "" {
		return "pool"
	}
	return opt.Method
}

// selectTasks keeps the named ones; a name that is none is an error.
func selectTasks(tasks []Task, only []string) ([]Task, error) {
	if len(only) == 0 {
		return tasks, nil
	}
	var out []Task
	for _, name := range only {
		i := slices.IndexFunc(tasks, func(t Task) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("the list has no series %q", name)
		}
		out = append(out, tasks[i])
	}
	return out, nil
}

func evaluate(ctx context.Context, opt Options, tasks []Task, stdout io.Writer) ([]result, error) {
	var jobs []result
	series := map[string]forecast.Series{}
	for _, t := range tasks {
		s, err := t.load(opt.Dir)
		if err != nil {
			return nil, &InputError{err}
		}
		series[t.Name] = s
		for _, o := range t.origins(s.Values, opt.Origins) {
			jobs = append(jobs, result{task: t, origin: o})
		}
	}
	if len(jobs) == 0 {
		return nil, &InputError{errors.New("no origin to forecast from: all series have too many gaps")}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	var done atomic.Int64
	for i := range jobs {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := jobs[i].forecast(series[jobs[i].task.Name], opt); err != nil {
				return fmt.Errorf("forecast %s from point %d: %w", jobs[i].task.Name, jobs[i].origin, err)
			}
			progress(stdout, int(done.Add(1)), len(jobs))
			return nil
		})
	}
	return jobs, group.Wait()
}

func progress(stdout io.Writer, done, all int) {
	f, ok := stdout.(*os.File)
	if !ok {
		return
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	fmt.Fprintf(f, "\r%d of %d forecasts", done, all)
	if done == all {
		fmt.Fprintln(f)
	}
}

// forecast fits a fresh engine on the window before the origin, as the product would at that moment.
func (r *result) forecast(s forecast.Series, opt Options) error {
	from := r.origin - r.task.History
	window := forecast.Series{Start: s.Time(from), Step: s.Step, Values: s.Values[from:r.origin]}
	began := time.Now()
	engine, err := forecast.New(forecast.Config{
		Step: s.Step, History: r.task.History, Horizon: r.task.Horizon, MaxStale: r.task.History,
		Method: opt.Method, Calendar: opt.Calendar,
	})
	if err != nil {
		return &InputError{err}
	}
	if err := engine.Load(window); err != nil {
		return err
	}
	f, err := engine.Forecast(s.Time(r.origin), r.task.Horizon)
	var abstained *forecast.Abstention
	if errors.As(err, &abstained) && abstained.Reason == pool.ErrMethod.Error() {
		r.without = true
		return nil
	}
	if err != nil {
		return err
	}
	r.seconds = time.Since(began).Seconds()
	r.mean = f.Mean
	for k := range f.Mean {
		r.upper = append(r.upper, f.Quantile(k, level))
	}
	r.actual = s.Values[r.origin : r.origin+r.task.Horizon]
	r.simple = simple(window.Values, r.task)
	r.naive, r.naiveUp = yesterday(window.Values, r.task.Day, r.task.Horizon)
	return nil
}
