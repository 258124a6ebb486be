package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/forecast/evaluation"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/scaling/backtest"
	"github.com/foreshadow/foreshadow/libs/scaling/backtest/source"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/command/internal/past"
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
  foreshadow backtest --csv demand.csv --json report.json --fail-above 0.5   # for CI`,
	}
	b := backtesting{options: backtest.Default()}
	o, flags := &b.options, cmd.Flags()
	flags.StringVar(&b.csv, "csv", "", "the demand: timestamp,value")
	flags.StringVar(&b.dir, "dir", "", "directory of demands to summarise")
	flags.StringVar(&b.prometheus.URL, "prometheus", "", "address of a Prometheus to ask for the demand")
	flags.StringVar(&b.prometheus.Query, "query", "", "its query, which must yield one series in requests per second")
	flags.StringVar(&b.history, "history", "", "address of a metrics-aggregator to ask for the demand")
	flags.StringVar(&b.config, "config", "", "configuration file of the services, for TLS and identity towards --history")
	flags.StringVar(&b.workload, "workload", "", "whose demand it is")
	flags.DurationVar(&b.last, "last", 28*24*time.Hour, "how much of the past to ask Prometheus or the history for")
	flags.DurationVar(&b.prometheus.Step, "step", time.Minute, "resolution to ask Prometheus or the history for")
	flags.StringVar(&b.html, "html", "", "write the report with its charts to this file")
	flags.StringVar(&b.json, "json", "", "write the report as JSON to this file")
	flags.DurationVar(&o.Startup, "startup", o.Startup, "start-up time of an instance")
	flags.DurationSliceVar(&b.startups, "startups", []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute}, "start-up times, with --dir")
	flags.IntSliceVar(&b.fleets, "fleets", []int{40}, "instances that the 99th percentile needs, with --dir")
	flags.DurationVar(&o.Tick, "tick", o.Tick, "time between two decisions")
	flags.Float64Var(&o.Capacity, "capacity", o.Capacity, "what one instance carries within the SLO; 0 scales it so that the 99th percentile needs --instances")
	flags.IntVar(&o.Instances, "instances", o.Instances, "instances that the 99th percentile of the demand needs, when no capacity is given")
	flags.IntVar(&o.HPA, "hpa", o.HPA, "target of the HPA that all are compared with, in percent")
	flags.DurationVar(&o.Warmup, "warmup", o.Warmup, "learnt from, but not scored; 0 takes a third of the series")
	flags.StringSliceVar(&o.Policies, "policies", nil, "compare only with these beside the HPA, by the names in the table; default: all")
	flags.StringVar(&o.Forecasts, "forecasts", "", "folder to keep forecasts in, and to take them from while the series and the forecast are the same")
	flags.Float64Var(&b.failAbove, "fail-above", 0, "exit with 1 when more than this share of the HPA's violations is left at its cost; 0: never")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
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
}

func (b backtesting) run(ctx context.Context, out, progress io.Writer) error {
	if err := b.validate(); err != nil {
		return usageError{err}
	}
	if b.dir != "" {
		return b.suite(ctx, out, progress)
	}
	series, err := b.read(ctx)
	if err != nil {
		return err
	}
	o := b.options
	o.Progress = progressBar(progress)
	report, err := backtest.Run(ctx, series, o)
	if err != nil {
		return fmt.Errorf("backtest %s: %w", b.name(), err)
	}
	if err := report.WriteTable(out); err != nil {
		return err
	}
	if err := errors.Join(writeTo(b.html, report.WriteHTML), writeTo(b.json, report.WriteJSON)); err != nil {
		return err
	}
	ours, _ := report.Curve(backtest.Foreshadow)
	return b.judge(ours.AtCostRatio)
}

// judge makes the exit code tell CI what the table tells people.
func (b backtesting) judge(ratio float64) error {
	if b.failAbove > 0 && !(ratio >= 0 && ratio <= b.failAbove) {
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
	}
	return nil
}

func (b backtesting) name() string {
	switch {
	case b.csv != "":
		return b.csv
	case b.history != "":
		return b.workload
	}
	return b.prometheus.Query
}

func (b backtesting) read(ctx context.Context) (forecast.Series, error) {
	now := time.Now()
	switch {
	case b.csv != "":
		return readDemand(b.csv)
	case b.history != "":
		edge, err := edgeOf(b.config)
		if err != nil {
			return forecast.Series{}, err
		}
		return readHistory(ctx, edge, b.history, past.Query{Workload: b.workload, From: now.Add(-b.last), To: now, Step: b.prometheus.Step})
	}
	p := b.prometheus
	p.Start, p.End = now.Add(-b.last), now
	return p.Read(ctx)
}

func readDemand(path string) (forecast.Series, error) {
	f, err := os.Open(path)
	if err != nil {
		return forecast.Series{}, usageError{err}
	}
	defer f.Close()
	series, err := evaluation.ReadCSV(f)
	if err != nil {
		return forecast.Series{}, usageError{fmt.Errorf("%s: %w", path, err)}
	}
	return series, nil
}

// suite plays every file of a directory and summarises.
func (b backtesting) suite(ctx context.Context, out, progress io.Writer) error {
	paths, err := filepath.Glob(filepath.Join(b.dir, "*.csv"))
	if err != nil || len(paths) == 0 {
		return usageError{fmt.Errorf("--dir %s: holds no .csv file", b.dir)}
	}
	var series []backtest.Named
	for _, path := range paths {
		s, err := readDemand(path)
		if err != nil {
			return err
		}
		series = append(series, backtest.Named{Name: strings.TrimSuffix(filepath.Base(path), ".csv"), Series: s})
	}
	run := backtest.Suite{Startups: b.startups, Instances: b.fleets, Options: b.options, Progress: progressBar(progress)}
	rows, failed := run.Run(ctx, series)
	if err := errors.Join(rows.WriteTable(out), writeTo(b.json, rows.WriteJSON), failed); err != nil {
		return err
	}
	for _, s := range rows.Summaries() {
		if err := b.judge(s.AtCost); err != nil {
			return fmt.Errorf("start-up %.0f s, fleet of %d: %w", s.StartupSeconds, s.Instances, err)
		}
	}
	return nil
}

// progressBar draws how far long work is, for a person only.
func progressBar(w io.Writer) func(done, all int) {
	if !isTerminal(w) {
		return nil
	}
	const width = 40
	return func(done, all int) {
		full := width * done / max(all, 1)
		fmt.Fprintf(w, "\r[%s%s] %d of %d ", strings.Repeat("#", full), strings.Repeat(".", width-full), done, all)
		if done == all {
			fmt.Fprintln(w)
		}
	}
}

// isTerminal says whether a person reads along.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// writeTo writes to a file unless it has no name.
func writeTo(path string, write func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return errors.Join(write(f), f.Close())
}

// readHistory asks the metrics-aggregator what it has seen.
func readHistory(ctx context.Context, edge *rpc.Edge, address string, q past.Query) (forecast.Series, error) {
	conn, err := edge.Dial(address)
	if err != nil {
		return forecast.Series{}, fmt.Errorf("dial history %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	s, err := past.Read(ctx, foreshadowv1.NewHistoryServiceClient(conn), q)
	if err != nil {
		return forecast.Series{}, fmt.Errorf("ask %s: %w", address, err)
	}
	return s, nil
}

const historyTimeout = 2 * time.Minute
