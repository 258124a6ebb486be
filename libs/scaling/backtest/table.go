package backtest

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// WriteTable prints the report for a terminal.
func (r Report) WriteTable(out io.Writer) error {
	fmt.Fprintf(out, "%.1f days, %.1f scored; instances start in %s; one carries %.4g per second within the SLO\n",
		r.Days, r.ScoredDays, time.Duration(r.StartupSeconds*float64(time.Second)), r.Capacity)
	ref := r.Reference
	fmt.Fprintf(out, "Compared with the Kubernetes HPA at %s: %.1f instance-hours, %s of requests violated, %.1f actions a day\n",
		ref.Setting, ref.InstanceHours, percent(ref.ViolatedShare), ref.ActionsPerDay)
	fmt.Fprintf(out, "The forecast had earned trust %s of the time\n\n", percent(r.TrustedShare))
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "policy\tviolated at its cost\tof the HPA's\tcost at its violations\tactions\t")
	for _, c := range r.ranked() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", c.Policy, orDash(c.AtCost, percent), times(c.AtCostRatio),
			times(c.AtViolations), times(c.ActionsRatio))
	}
	return w.Flush()
}

// ranked returns the curves with the fewest violations at the reference's cost first; those too dear last.
func (r Report) ranked() []Curve {
	out := slices.Clone(r.Curves)
	slices.SortStableFunc(out, func(a, b Curve) int {
		switch x, y := a.AtCost, b.AtCost; {
		case x == y:
			return 0
		case y < 0 || x >= 0 && x < y:
			return -1
		}
		return 1
	})
	return out
}

func orDash(v float64, format func(float64) string) string {
	if v < 0 {
		return "-"
	}
	return format(v)
}

func percent(v float64) string { return fmt.Sprintf("%.3g %%", 100*v) }

// times prints a ratio; what is below zero is none.
func times(v float64) string {
	if v < 0 {
		return "-"
	}
	return fmt.Sprintf("%.3fx", v)
}
