package backtest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Run plays a series, requests per second (or any rate Options.Capacity is given in), through all policies.
func Run(ctx context.Context, s forecast.Series, o Options) (Report, error) {
	w, f, err := o.prepare(s)
	if err != nil {
		return Report{}, err
	}
	if o.Progress != nil {
		o.Progress(0, len(o.contenders(w, f))) // forecasting comes first
	}
	if err := (shelf{o.Forecasts}).foresee(ctx, f); err != nil {
		return Report{}, fmt.Errorf("forecast: %w", err)
	}
	return o.compete(ctx, w, f)
}

// prepare checks everything and lays out the world and what is to be foreseen in it.
func (o Options) prepare(s forecast.Series) (world, *outlook, error) {
	if err := o.Validate(); err != nil {
		return world{}, nil, &InputError{err}
	}
	w, err := o.world(s)
	if err != nil {
		return world{}, nil, &InputError{fmt.Errorf("prepare demand: %w", err)}
	}
	in := scaling.Input{Config: o.Decision, Startup: w.config.ReadyAfter()}
	in.Config.Interval = o.Tick
	f := newOutlook(w, in.LeadTime(), in.HoldTime())
	if n := len(f.journey.Series.Values); n < minPoints {
		return world{}, nil, &InputError{fmt.Errorf("the series is too short: %d points of %s, at least %d are needed", n, f.journey.Series.Step, minPoints)}
	}
	return w, f, nil
}

// compete plays all policies and reports.
func (o Options) compete(ctx context.Context, w world, f *outlook) (Report, error) {
	contenders := o.contenders(w, f)
	results, err := play(ctx, w, contenders, o.Progress)
	if err != nil {
		return Report{}, err
	}
	return o.report(w, f, contenders, results)
}

// play runs all contenders, as many at a time as there are processors. Results keep the order of the contenders.
func play(ctx context.Context, w world, contenders []contender, progress func(done, all int)) ([]simulate.Result, error) {
	results := make([]simulate.Result, len(contenders))
	errs := make([]error, len(contenders))
	next := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range min(runtime.GOMAXPROCS(0), len(contenders)) {
		workers.Go(func() {
			for i := range next {
				results[i], errs[i] = simulate.Run(w.demand, w.config, contenders[i].policy())
				if !contenders[i].keep {
					results[i].Ready, results[i].Desired, results[i].Need = nil, nil, nil
				}
				mu.Lock()
				done++
				if progress != nil {
					progress(done, len(contenders))
				}
				mu.Unlock()
			}
		})
	}
	for i := range contenders {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("run policies: %w", err)
	}
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("run %s (%s): %w", contenders[i].curve, contenders[i].setting, err)
		}
	}
	return results, nil
}

func days(d time.Duration) float64 { return d.Hours() / 24 }
