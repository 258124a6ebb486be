package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/forecast/evaluation"
	"github.com/foreshadow/foreshadow/libs/scaling/backtest"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func evaluateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "evaluate", Short: "Measure the forecast on a list of real series by rolling origin", Args: noArgs,
		Long: `Reads a CSV list of evaluations (name,file,agg,m,mw,h,hist), forecasts from many points of the past of each series what is
already known, and compares the errors with those of repeating yesterday, and with any baselines.csv beside the list.`,
	}
	var o evaluation.Options
	flags := cmd.Flags()
	flags.StringVar(&o.Series, "series", "", "CSV list of evaluations")
	flags.StringVar(&o.Dir, "dir", ".", "directory of the series' files")
	flags.IntVar(&o.Origins, "origins", 20, "forecasts per series")
	flags.StringVar(&o.Out, "out", "", "CSV to write: series,method,origin,h,y,mean,q95,seconds")
	flags.StringVar(&o.Method, "method", "", "one model of the pool; default: the pool")
	known := flags.String("calendar", "", "YAML file with what was known beforehand: time_zone and events, as in the configuration")
	flags.StringSliceVar(&o.Only, "only", nil, "names of series to restrict the run to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *known != "" {
			if err := workload.Load(*known, nil, &o.Calendar); err != nil {
				return usageError{err}
			}
			if err := o.Calendar.Validate(); err != nil {
				return usageError{fmt.Errorf("%s: %w", *known, err)}
			}
		}
		return evaluation.Run(cmd.Context(), o, cmd.OutOrStdout())
	}
	return cmd
}

func backtestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backtest", Short: "Replay a demand through Foreshadow, the HPA, and what else people run", Args: noArgs,
		Long: `Replays a demand (a CSV with the columns timestamp,value; requests per second) through the decision that runs live, the exact
Kubernetes HPA, and what else people run, each over a sweep of its own target, and compares violations and cost.`,
	}
	o := backtest.Default()
	flags := cmd.Flags()
	csv := flags.String("csv", "", "the demand: timestamp,value")
	html := flags.String("html", "", "write the report with its charts to this file")
	jsonFile := flags.String("json", "", "write the report as JSON to this file")
	flags.DurationVar(&o.Startup, "startup", o.Startup, "start-up time of an instance")
	flags.DurationVar(&o.Tick, "tick", o.Tick, "time between two decisions")
	flags.Float64Var(&o.Capacity, "capacity", o.Capacity, "what one instance carries within the SLO; 0 scales it so that the 99th percentile needs --instances")
	flags.IntVar(&o.Instances, "instances", o.Instances, "instances that the 99th percentile of the demand needs, when no capacity is given")
	flags.IntVar(&o.HPA, "hpa", o.HPA, "target of the HPA that all are compared with, in percent")
	flags.DurationVar(&o.Warmup, "warmup", o.Warmup, "learnt from, but not scored; 0 takes a third of the series")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runBacktest(cmd.Context(), o, backtestFiles{csv: *csv, html: *html, json: *jsonFile}, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// backtestFiles are where a backtest reads and writes.
type backtestFiles struct{ csv, html, json string }

func runBacktest(ctx context.Context, o backtest.Options, files backtestFiles, out, progress io.Writer) error {
	if files.csv == "" {
		return usageError{errors.New("--csv is missing: name the file of the demand")}
	}
	f, err := os.Open(files.csv)
	if err != nil {
		return usageError{err}
	}
	defer f.Close()
	series, err := evaluation.ReadCSV(f)
	if err != nil {
		return usageError{fmt.Errorf("%s: %w", files.csv, err)}
	}
	if isTerminal(progress) {
		o.Progress = func(done, all int) { fmt.Fprintf(progress, "\rbacktest: %d of %d runs ", done, all) }
		defer fmt.Fprintln(progress)
	}
	report, err := backtest.Run(ctx, series, o)
	if err != nil {
		return fmt.Errorf("backtest %s: %w", files.csv, err)
	}
	if err := report.WriteTable(out); err != nil {
		return err
	}
	return errors.Join(writeTo(files.html, report.WriteHTML), writeTo(files.json, report.WriteJSON))
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
