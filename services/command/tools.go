package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/forecast/evaluation"
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
