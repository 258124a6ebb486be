package command

import (
	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/forecast/evaluation"
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
	flags.StringSliceVar(&o.Only, "only", nil, "names of series to restrict the run to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return evaluation.Run(cmd.Context(), o, cmd.OutOrStdout())
	}
	return cmd
}
