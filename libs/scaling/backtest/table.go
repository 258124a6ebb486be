package backtest

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable prints the report for a terminal.
func (r Report) WriteTable(out io.Writer) error {
	fmt.Fprintf(out, "%.1f days, %.1f scored; instances start in %s; one carries %.4g per second within the SLO%s\n",
		r.Days, r.ScoredDays, time.Duration(r.StartupSeconds*float64(time.Second)), r.Capacity, r.assumed())
	ref := r.Reference
	fmt.Fprintf(out, "Compared with the Kubernetes HPA at %s: %.1f instance-hours, %s of requests violated, %.1f actions a day\n",
		ref.Setting, ref.InstanceHours, percent(ref.ViolatedShare), ref.ActionsPerDay)
	fmt.Fprintf(out, "The forecast had earned trust %s of the time\n\n", percent(r.TrustedShare))
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "policy\tviolated at its cost\tof the HPA's\tway to oracle\tcost at its violations\tway to oracle\tactions\t")
	for _, c := range r.ranked() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", c.Policy, orDash(c.AtCost, percent), times(c.AtCostRatio), r.WayAtCost(c),
			times(c.AtViolations), r.WayAtViolations(c), times(c.ActionsRatio))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.writeSettings(out)
}

// writeSettings prints what each setting of our own costs and leaves, so that one can be chosen.
func (r Report) writeSettings(out io.Writer) error {
	fmt.Fprint(out, "\nWhat money buys: policy.budget, or none and policy.risk\n\n")
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "setting\tcost of the HPA's\tviolated\tof the HPA's\tactions a day\t")
	for _, name := range []string{Foreshadow, NoBudget} {
		c, _ := r.Curve(name)
		settings := slices.SortedFunc(slices.Values(c.Points), func(a, b Point) int { return strings.Compare(a.Setting, b.Setting) })
		for _, p := range settings {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f\t\n", p.Setting, times(p.InstanceHours/r.Reference.InstanceHours), percent(p.ViolatedShare),
				times((p.ViolatedShare+violationFloor)/(r.Reference.ViolatedShare+violationFloor)), p.ActionsPerDay)
		}
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

// WayAtCost says how far a policy goes from the reference's violations to those of who knows the future, at no more than the
// reference's cost: 0 % is the reference, 100 % the bound, below zero worse than the reference. A dash where there is no way to
// go, or the oracle did not run.
func (r Report) WayAtCost(c Curve) string {
	oracle, _ := r.Curve(Oracle)
	return way(r.Reference.ViolatedShare, c.AtCost, oracle.AtCost, len(oracle.Points) > 0)
}

// WayAtViolations says the same of the cost, at no more than the reference's violations.
func (r Report) WayAtViolations(c Curve) string {
	oracle, _ := r.Curve(Oracle)
	return way(1, c.AtViolations, oracle.AtViolations, len(oracle.Points) > 0)
}

func way(from, at, to float64, known bool) string {
	if !known || at < 0 || to < 0 || !(from-to > violationFloor) {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*(from-at)/(from-to))
}

func orDash(v float64, format func(float64) string) string {
	if v < 0 {
		return "-"
	}
	return format(v)
}

// assumed says where a capacity comes from that nobody gave.
func (r Report) assumed() string {
	if r.Instances == 0 {
		return ""
	}
	return fmt.Sprintf(", assumed so that %d carry the 99th percentile (--capacity gives it)", r.Instances)
}

func percent(v float64) string {
	if math.Abs(v) >= 10 {
		return fmt.Sprintf("%.0f %%", 100*v)
	}
	return fmt.Sprintf("%.3g %%", 100*v)
}

// times prints a ratio; what is below zero is none.
func times(v float64) string {
	if v < 0 {
		return "-"
	}
	return fmt.Sprintf("%.3fx", v)
}
