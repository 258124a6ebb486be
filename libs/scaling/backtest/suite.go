package backtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

// Trace ratios below it count as it in the geometric mean: a trace without any violation would otherwise decide alone.
const ratioFloor = 0.01

// forecastable is the share of a naive forecast's pinball loss up to which a service counts as forecastable.
const forecastable = 0.8

// Named is a series and what it is called.
type Named struct {
	Name   string
	Series forecast.Series
}

// Suite is many series played under several start-up times and fleet sizes, all with the same options.
type Suite struct {
	Startups  []time.Duration
	Instances []int
	Options   Options
	// Progress, if set, is told after every finished series; it is called from one goroutine at a time.
	Progress func(done, all int)
}

// Standing is how Foreshadow stood on one series. Ratios are to the reference HPA; -1 where a curve does not get there.
type Standing struct {
	Series         string  `json:"series"`
	StartupSeconds float64 `json:"startup_seconds"`
	Instances      int     `json:"instances"`
	// HPAViolated is the reference's share of violated requests.
	HPAViolated      float64 `json:"hpa_violated_share"`
	HPAActions       float64 `json:"hpa_actions_per_day"`
	AtCost           float64 `json:"violated_ratio_at_cost"`
	AtViolations     float64 `json:"cost_ratio_at_violations"`
	Actions          float64 `json:"actions_ratio"`
	OracleAtCost     float64 `json:"oracle_violated_ratio_at_cost"`
	OracleViolations float64 `json:"oracle_cost_ratio_at_violations"`
	// DefaultViolated and DefaultCost are those of the one default setting, without any sweep.
	DefaultViolated float64 `json:"default_violated_ratio"`
	DefaultCost     float64 `json:"default_cost_ratio"`
	// Pinball is the forecast's 0.95 pinball loss, of a naive forecast's; 0 when there was none to score.
	Pinball float64 `json:"pinball_ratio"`
	// Others are the ratios at the reference's cost of every other policy, with its best setting.
	Others map[string]float64 `json:"others"`
}

// Standings are the rows of a suite.
type Standings []Standing

// Run plays every series in every world, as many series at a time as there are processors. Rows keep the order of the series.
// A series that cannot be played is an error that names it.
func (s Suite) Run(ctx context.Context, series []Named) (Standings, error) {
	rows := make([]Standings, len(series))
	errs := make([]error, len(series))
	next := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range min(runtime.GOMAXPROCS(0), len(series)) {
		workers.Go(func() {
			for i := range next {
				var err error
				if rows[i], err = s.one(ctx, series[i]); err != nil {
					errs[i] = fmt.Errorf("%s: %w", series[i].Name, err)
				}
				mu.Lock()
				done++
				if s.Progress != nil {
					s.Progress(done, len(series))
				}
				mu.Unlock()
			}
		})
	}
	for i := range series {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	return slices.Concat(rows...), errors.Join(append(errs, ctx.Err())...)
}

// one plays a series in every world; what is forecast is the same in all.
func (s Suite) one(ctx context.Context, n Named) (Standings, error) {
	var options []Options
	var worlds []world
	var views []*outlook
	for _, startup := range s.Startups {
		for _, instances := range s.Instances {
			o := s.Options
			o.Startup, o.Instances, o.Progress = startup, instances, nil
			w, f, err := o.prepare(n.Series)
			if err != nil {
				return nil, err
			}
			options, worlds, views = append(options, o), append(worlds, w), append(views, f)
		}
	}
	if len(views) == 0 {
		return nil, errors.New("no start-up time or no fleet to play")
	}
	if err := (shelf{s.Options.Forecasts}).foresee(ctx, views...); err != nil {
		return nil, fmt.Errorf("forecast: %w", err)
	}
	var out Standings
	for i, o := range options {
		r, err := o.compete(ctx, worlds[i], views[i])
		if err != nil {
			return out, err
		}
		out = append(out, r.standing(n.Name, o.Instances))
	}
	return out, nil
}

func (r Report) standing(name string, instances int) Standing {
	s := Standing{
		Series: name, StartupSeconds: r.StartupSeconds, Instances: instances, HPAViolated: r.Reference.ViolatedShare,
		HPAActions: r.Reference.ActionsPerDay,
		Pinball:    r.PinballRatio, Others: map[string]float64{},
	}
	for _, c := range r.Curves {
		switch c.Policy {
		case Foreshadow:
			s.AtCost, s.AtViolations, s.Actions = c.AtCostRatio, c.AtViolations, c.ActionsRatio
			for _, p := range c.Points {
				if p.Default {
					s.DefaultViolated = (p.ViolatedShare + violationFloor) / (r.Reference.ViolatedShare + violationFloor)
					s.DefaultCost = p.InstanceHours / math.Max(r.Reference.InstanceHours, 1e-9)
				}
			}
		case Oracle:
			s.OracleAtCost, s.OracleViolations = c.AtCostRatio, c.AtViolations
		default:
			s.Others[c.Policy] = c.AtCostRatio
		}
	}
	return s
}

// Summary is one world of a suite, over all its series.
type Summary struct {
	StartupSeconds float64 `json:"startup_seconds"`
	Instances      int     `json:"instances"`
	Series         int     `json:"series"`
	// AtCost is the geometric mean of the violation ratios at the HPA's cost over the series on which the HPA violates
	// anything, no ratio counted below 0.01; Forecastable the same over the services whose forecast is worth having.
	AtCost, Forecastable, OracleAtCost, DefaultViolated float64
	ForecastableSeries                                  int
	// AtViolations and OracleViolations are geometric means of the cost at the HPA's violations.
	AtViolations, OracleViolations float64
	// Halves are AtCost over every second series, by name: a setting that only suits some of them shows a gap.
	Halves       [2]float64
	Actions      float64 // geometric mean of the ratios of scale actions, over the series on which the HPA acts at all
	WorstActions float64
	Worse        int // series with more violations than the HPA at its cost
	Dearer       int // series that cost above 1 % more than the HPA at its violations
}

// Summaries folds the rows, one entry per world, in the order in which the worlds first appear.
func (s Standings) Summaries() []Summary {
	var out []Summary
	seen := map[[2]float64]int{}
	groups := [][]Standing{}
	for _, row := range s {
		key := [2]float64{row.StartupSeconds, float64(row.Instances)}
		i, ok := seen[key]
		if !ok {
			i = len(groups)
			seen[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], row)
	}
	for _, g := range groups {
		out = append(out, summarize(g))
	}
	return out
}

func summarize(rows []Standing) Summary {
	s := Summary{StartupSeconds: rows[0].StartupSeconds, Instances: rows[0].Instances, Series: len(rows)}
	var atCost, predictable, oracle, fixed, cost, oracleCost, actions geometric
	var halves [2]geometric
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Standing) int { return strings.Compare(a.Series, b.Series) })
	for i, r := range rows {
		if r.AtCost < 0 || r.AtCost > 1+1e-6 {
			s.Worse++
		}
		if r.AtViolations < 0 || r.AtViolations > 1.01 {
			s.Dearer++
		}
		if r.HPAActions > 0 {
			actions.add(r.Actions)
			s.WorstActions = math.Max(s.WorstActions, r.Actions)
		}
		cost.add(r.AtViolations)
		oracleCost.add(r.OracleViolations)
		if r.HPAViolated < violationFloor {
			continue
		}
		ratio := r.AtCost
		if ratio < 0 {
			ratio = math.Max(1, r.DefaultViolated) // it never gets that cheap
		}
		atCost.add(math.Max(ratio, ratioFloor))
		halves[i%2].add(math.Max(ratio, ratioFloor))
		oracle.add(math.Max(r.OracleAtCost, ratioFloor))
		fixed.add(math.Max(r.DefaultViolated, ratioFloor))
		if r.Pinball > 0 && r.Pinball <= forecastable {
			predictable.add(math.Max(ratio, ratioFloor))
		}
	}
	s.AtCost, s.Forecastable, s.OracleAtCost, s.DefaultViolated = atCost.mean(), predictable.mean(), oracle.mean(), fixed.mean()
	s.ForecastableSeries = predictable.n
	s.AtViolations, s.OracleViolations = cost.mean(), oracleCost.mean()
	s.Halves, s.Actions = [2]float64{halves[0].mean(), halves[1].mean()}, actions.mean()
	return s
}

// geometric is a geometric mean of positive numbers; others are left out.
type geometric struct {
	sum float64
	n   int
}

func (g *geometric) add(v float64) {
	if v > 0 {
		g.sum += math.Log(v)
		g.n++
	}
}

func (g *geometric) mean() float64 {
	if g.n == 0 {
		return 0
	}
	return math.Exp(g.sum / float64(g.n))
}

// WriteTable prints the rows and their summaries for a terminal.
func (s Standings) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "series\tstart-up\tfleet\tHPA violates\tat its cost\toracle\tcost at its violations\toracle\tHPA acts/day\tactions\tdefault violates\tdefault costs\tpinball\t")
	for _, r := range s {
		fmt.Fprintf(w, "%s\t%.0f s\t%d\t%s\t%s\t%s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%.2f\t\n", r.Series, r.StartupSeconds, r.Instances,
			percent(r.HPAViolated), orDash(r.AtCost, times), orDash(r.OracleAtCost, times), orDash(r.AtViolations, times),
			orDash(r.OracleViolations, times), r.HPAActions, times(r.Actions), times(r.DefaultViolated), times(r.DefaultCost), r.Pinball)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write standings: %w", err)
	}
	for _, m := range s.Summaries() {
		fmt.Fprintf(out, "\nstart-up %.0f s, fleet of %d, %d series; of the HPA's, geometric means:\n", m.StartupSeconds, m.Instances, m.Series)
		fmt.Fprintf(out, "  violations at its cost %.3f (oracle %.3f), on the %d forecastable services %.3f, at the default setting %.3f\n",
			m.AtCost, m.OracleAtCost, m.ForecastableSeries, m.Forecastable, m.DefaultViolated)
		fmt.Fprintf(out, "  the same over every second series %.3f, over the others %.3f\n", m.Halves[0], m.Halves[1])
		fmt.Fprintf(out, "  cost at its violations %.3f (oracle %.3f); scale actions %.2f, %.2f at most\n", m.AtViolations, m.OracleViolations, m.Actions, m.WorstActions)
		fmt.Fprintf(out, "  worse than the HPA at its cost on %d series; above 1 %% dearer at its violations on %d\n", m.Worse, m.Dearer)
	}
	return nil
}

// WriteJSON writes the rows and summaries for other programs.
func (s Standings) WriteJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	v := struct {
		Standings Standings `json:"standings"`
		Summaries []Summary `json:"summaries"`
	}{s, s.Summaries()}
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write standings: %w", err)
	}
	return nil
}
