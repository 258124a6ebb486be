package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/scaling/backtest"
	"github.com/foreshadow/foreshadow/libs/scaling/backtest/source"
	"github.com/foreshadow/foreshadow/services/command/internal/output"
)

func backtestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backtest", Short: "Replay a demand through Foreshadow, the HPA, and what else people run", Args: noArgs,
		Long: `Replays a demand, in requests per second, through the decision that runs live, the exact Kubernetes HPA, and what else people
run, each over a sweep of its own target, and compares violations and cost. The demand comes from one of
  --csv FILE                          a file with the columns timestamp,value
  --prometheus URL --query Q          a Prometheus range query that yields one series
  --history ADDRESS --workload NAME   what Foreshadow itself has seen; --config FILE says how its services speak (TLS, identity)
  --dir DIRECTORY                     every .csv in it, summarised, for each of --startups and --fleets`,
		Example: `  foreshadow backtest --csv demand.csv --html report.html
  foreshadow backtest --prometheus http://127.0.0.1:9090 --query 'sum(rate(http_requests_total[1m]))' --last 672h --step 1m
  foreshadow backtest --csv demand.csv --json report.json --fail-above 0.5   # for CI: 1 when missed, 2 when misused`,
	}
	b := backtesting{options: backtest.Default()}
	o, flags := &b.options, cmd.Flags()
	flags.StringVar(&b.csv, "csv", "", "the demand: timestamp,value; - reads standard input")
	flags.StringVar(&b.dir, "dir", "", "directory of demands to summarise")
	flags.StringVar(&b.prometheus.URL, "prometheus", "", "address of a Prometheus to ask for the demand")
	flags.StringVar(&b.prometheus.Query, "query", "", "its query, which must yield one series in requests per second")
	flags.StringArrayVar(&b.prometheus.Headers, "header", nil, "`header` of the requests to Prometheus, such as 'X-Scope-OrgID: tenant'; may be repeated")
	flags.StringVar(&b.history, "history", "", "address of a metrics-aggregator to ask for the demand")
	flags.StringVar(&b.config, "config", "", "configuration file of the services, for TLS and identity towards --history")
	flags.StringVar(&b.workload, "workload", "", "whose demand it is")
	flags.DurationVar(&b.last, "last", 28*24*time.Hour, "how much of the past to ask Prometheus or the history for")
	flags.DurationVar(&b.prometheus.Step, "step", time.Minute, "resolution to ask Prometheus or the history for")
	flags.StringVar(&b.html, "html", "", "write the report with its charts to this file")
	flags.StringVar(&b.json, "json", "", "write the report as JSON to this file")
	flags.DurationVar(&o.Startup, "startup", o.Startup, "start-up time of an instance")
	flags.DurationSliceVar(&b.startups, "startups", []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute}, "start-up `times`, with --dir")
	flags.IntSliceVar(&b.fleets, "fleets", []int{40}, "instances that the 99th percentile needs, with --dir")
	flags.DurationVar(&o.Tick, "tick", o.Tick, "time between two decisions")
	flags.Float64Var(&o.Capacity, "capacity", o.Capacity, "what one instance carries within the SLO; 0 scales it so that the 99th percentile needs --instances")
	flags.IntVar(&o.Instances, "instances", o.Instances, "instances that the 99th percentile of the demand needs, when no capacity is given")
	flags.IntVar(&o.HPA, "hpa", o.HPA, "target of the HPA that all are compared with, in percent")
	flags.DurationVar(&o.Warmup, "warmup", o.Warmup, "learnt from, but not scored; 0 takes a third of the series")
	known := calendarFlag(cmd)
	flags.StringSliceVar(&o.Policies, "policies", nil, "compare only with these beside the HPA; default: all of "+strings.Join(backtest.Policies(), ", "))
	flags.StringVar(&o.Forecasts, "forecasts", "", "folder to keep forecasts in, and to take them from while the series and the forecast are the same")
	flags.Float64Var(&b.failAbove, "fail-above", 0, "exit with 1 when more than this share of the HPA's violations is left at its cost; 0: never")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if o.Calendar, err = loadCalendar(*known); err != nil {
			return usageError{err}
		}
		b.in, b.given = cmd.InOrStdin(), func(flag string) bool { return flags.Changed(flag) }
		return b.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// backtesting is what the command was asked for.
type backtesting struct {
	options                     backtest.Options
	csv, dir, history, workload string
	config                      string // of the services; empty: plain text
	prometheus                  source.Prometheus
	last                        time.Duration
	html, json                  string
	startups                    []time.Duration
	fleets                      []int
	failAbove                   float64
	in                          io.Reader
	given                       func(flag string) bool
}

func (b backtesting) run(ctx context.Context, out, progress io.Writer) error {
	now := time.Now()
	b.prometheus.Start, b.prometheus.End = now.Add(-b.last), now
	if err := b.validate(); err != nil {
		return usageError{err}
	}
	html, err := output.Create(b.html)
	if err != nil {
		return usageError{fmt.Errorf("--html: %w", err)}
	}
	defer html.Discard()
	data, err := output.Create(b.json)
	if err != nil {
		return usageError{fmt.Errorf("--json: %w", err)}
	}
	defer data.Discard()
	if b.dir != "" {
		return b.suite(ctx, out, progress, data)
	}
	series, err := b.read(ctx)
	if err != nil {
		return err
	}
	report, err := b.play(ctx, series, progress)
	if err != nil {
		return fmt.Errorf("backtest %s: %w", b.name(), err)
	}
	if err := errors.Join(report.WriteTable(out), html.Commit(report.WriteHTML), data.Commit(report.WriteJSON)); err != nil {
		return err
	}
	ours, _ := report.Curve(backtest.Foreshadow)
	return b.judge(ours.AtCostRatio)
}

func (b backtesting) play(ctx context.Context, series forecast.Series, progress io.Writer) (backtest.Report, error) {
	bar := newBar(progress)
	defer bar.stop()
	o := b.options
	o.Progress = bar.report
	report, err := backtest.Run(ctx, series, o)
	report.Source = b.name()
	return report, inputFault(err)
}

// inputFault makes what the user can mend a usage error.
func inputFault(err error) error {
	var input *backtest.InputError
	if errors.As(err, &input) {
		return usageError{err}
	}
	return err
}

// judge makes the exit code tell CI what the table tells people.
func (b backtesting) judge(ratio float64) error {
	if b.failAbove > 0 && !(ratio >= 0) {
		return fmt.Errorf("no setting is as cheap as the HPA: its violations cannot be compared with the %g allowed", b.failAbove)
	}
	if b.failAbove > 0 && ratio > b.failAbove {
		return fmt.Errorf("violations at the HPA's cost are %.3f of the HPA's, above the %g allowed", ratio, b.failAbove)
	}
	return nil
}

func (b backtesting) validate() error {
	named := 0
	for _, s := range []string{b.csv, b.dir, b.prometheus.URL, b.history} {
		if s != "" {
			named++
		}
	}
	switch {
	case named != 1:
		return fmt.Errorf("%d sources of the demand are named: want one of --csv, --prometheus, --history, --dir", named)
	case b.config != "" && b.history == "":
		return errors.New("--config: only --history speaks to the services")
	case b.history != "" && b.workload == "":
		return errors.New("--workload is missing: name the workload whose history to read")
	case b.last <= 0 || b.prometheus.Step <= 0:
		return fmt.Errorf("--last %s and --step %s: must be positive", b.last, b.prometheus.Step)
	case b.dir != "" && b.html != "":
		return errors.New("--html: a directory has no report of its own, take one --csv of it")
	case b.html != "" && b.html == b.json:
		return fmt.Errorf("--html and --json: both would be written to %s", b.html)
	case b.given("fail-above") && !(b.failAbove >= 0):
		return fmt.Errorf("--fail-above %v: want a share of the HPA's violations, such as 0.5, or 0 to never fail", b.failAbove)
	case b.prometheus.URL != "":
		if err := b.prometheus.Validate(); err != nil {
			return err
		}
	}
	if err := b.unused(); err != nil {
		return err
	}
	return b.worlds()
}

// unused refuses flags that the source of the demand makes meaningless: a person who gives one believes that it did something.
func (b backtesting) unused() error {
	for _, f := range []struct {
		name string
		used bool
		why  string
	}{
		{"query", b.prometheus.URL != "", "belongs to --prometheus"},
		{"header", b.prometheus.URL != "", "belongs to --prometheus"},
		{"workload", b.history != "", "belongs to --history"},
		{"last", b.prometheus.URL != "" || b.history != "", "belongs to --prometheus and --history"},
		{"step", b.prometheus.URL != "" || b.history != "", "belongs to --prometheus and --history"},
		{"startups", b.dir != "", "belongs to --dir, one demand takes --startup"},
		{"fleets", b.dir != "", "belongs to --dir, one demand takes --instances"},
		{"startup", b.dir == "", "belongs to one demand, --dir takes --startups"},
		{"instances", b.dir == "", "belongs to one demand, --dir takes --fleets"},
	} {
		if b.given(f.name) && !f.used {
			return fmt.Errorf("--%s: %s", f.name, f.why)
		}
	}
	return nil
}

// worlds checks the options of every world that is to be played.
func (b backtesting) worlds() error {
	if b.dir == "" {
		return b.options.Validate()
	}
	for _, startup := range b.startups {
		for _, fleet := range b.fleets {
			o := b.options
			o.Startup, o.Instances = startup, fleet
			if err := o.Validate(); err != nil {
				return fmt.Errorf("--startups %s, --fleets %d: %w", startup, fleet, err)
			}
		}
	}
	return nil
}

// suite plays every file of a directory and summarises.
func (b backtesting) suite(ctx context.Context, out, progress io.Writer, data *output.File) error {
	series, err := b.demands()
	if err != nil {
		return usageError{err}
	}
	bar := newBar(progress)
	defer bar.stop()
	bar.report(0, len(series))
	run := backtest.Suite{Startups: b.startups, Instances: b.fleets, Options: b.options, Progress: bar.report}
	rows, failed := run.Run(ctx, series)
	bar.stop()
	failed = inputFault(failed)
	if len(rows) == 0 {
		return failed
	}
	if err := errors.Join(rows.WriteTable(out), data.Commit(rows.WriteJSON)); err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	for _, s := range rows.Summaries() {
		if err := b.judge(s.AtCost); err != nil {
			return fmt.Errorf("start-up %.0f s, fleet of %d: %w", s.StartupSeconds, s.Instances, err)
		}
	}
	return nil
}

// writeTo writes to a file, whole or not at all, unless it has no name.
func writeTo(path string, write func(io.Writer) error) error {
	f, err := output.Create(path)
	if err != nil {
		return err
	}
	return f.Commit(write)
}
