package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
	"github.com/foreshadow/foreshadow/libs/forecast/evaluation"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/command/internal/output"
)

func evaluateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "evaluate", Short: "Measure the forecast on a list of real series by rolling origin", Args: noArgs,
		Long: `Reads a CSV list of evaluations (name,file,agg,m,mw,h,hist), forecasts from many points of the past of each series what is
already known, and compares the errors with those of repeating yesterday, and with any baselines.csv beside the list.

The list's columns are: a name, a file in --dir, points averaged into one, then in such points a day, a week, how far to look
ahead, and the history to look back on. A series is a file with the columns timestamp,value.

--method is one of ` + strings.Join(evaluation.Methods(), ", ") + `.`,
		Example: "  foreshadow evaluate --series evaluation.csv --dir series/ --origins 20 --out results.csv",
	}
	var o evaluation.Options
	flags := cmd.Flags()
	flags.StringVar(&o.Series, "series", "", "CSV list of evaluations")
	flags.StringVar(&o.Dir, "dir", ".", "directory of the series' files")
	flags.IntVar(&o.Origins, "origins", 20, "forecasts per series")
	path := flags.String("out", "", "CSV to write: series,method,origin,h,y,mean,q95,seconds")
	flags.StringVar(&o.Method, "method", "", "one model by name; default: the pool")
	known := calendarFlag(cmd)
	flags.StringSliceVar(&o.Only, "only", nil, "names of series to restrict the run to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if o.Calendar, err = loadCalendar(*known); err != nil {
			return usageError{err}
		}
		if o.Series == "" {
			return usageError{errors.New("--series is missing: name the list of evaluations")}
		}
		if o.Origins < 1 {
			return usageError{fmt.Errorf("--origins %d: must be positive", o.Origins)}
		}
		return runEvaluation(cmd, o, *path)
	}
	return cmd
}

func calendarFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("calendar", "", "YAML file with what was known beforehand: time_zone and events, as in the configuration")
}

// loadCalendar reads what was known beforehand; without a path that is nothing.
func loadCalendar(path string) (c calendar.Calendar, err error) {
	if path == "" {
		return c, nil
	}
	data, err := workload.Load(path, nil, &c)
	if err != nil {
		return c, err
	}
	return c, workload.Locate(path, data, nil, c.Validate())
}

func runEvaluation(cmd *cobra.Command, o evaluation.Options, path string) error {
	file, err := output.Create(path)
	if err != nil {
		return usageError{fmt.Errorf("--out: %w", err)}
	}
	defer file.Discard()
	var results bytes.Buffer
	if file.Wanted() {
		o.Results = &results
	}
	err = evaluation.Run(cmd.Context(), o, cmd.OutOrStdout())
	var input *evaluation.InputError
	if errors.As(err, &input) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	return file.Commit(func(w io.Writer) error {
		_, err := results.WriteTo(w)
		return err
	})
}
