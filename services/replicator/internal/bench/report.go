package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// target is what was aimed at, and what came of it.
type target struct {
	Name  string `json:"name"`
	Ratio ratio  `json:"ratio"`
	// Limit, in words; empty for what is only told.
	Limit   string `json:"limit,omitempty"`
	Reached bool   `json:"reached"`
}

func (r *results) atMost(name string, got ratio, limit float64) {
	r.Targets = append(r.Targets, target{name, got, fmt.Sprintf("<= %v", limit), got.Median > 0 && got.Median <= limit})
}

func (r *results) atLeast(name string, got ratio, limit float64) {
	r.Targets = append(r.Targets, target{name, got, fmt.Sprintf(">= %v", limit), got.Median >= limit})
}

func (r *results) tell(name string, got ratio) {
	r.Targets = append(r.Targets, target{Name: name, Ratio: got, Reached: true})
}

func (r *results) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	if len(r.Figures) > 0 {
		fmt.Fprintln(w, "part\tvariant\tCPU us/request\tto off\tp50 us\tto off\tp99 us\trequests/s\tto off\terrors")
	}
	for _, f := range r.Figures {
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.2f\t%.0f\t%.3f\t%.0f\t%.0f\t%.3f\t%d\n", f.Part, f.Variant, f.CPUMicros, f.CPU.Median,
			f.P50Micros, f.P50, f.P99Micros, f.PerSecond, f.Throughput.Median, f.Errors)
	}
	_ = w.Flush()
	if len(r.Packets) > 0 {
		fmt.Fprintln(w, "\npackets\tsent\tper second\tcaptured\tshare\tkernel drops\tunexplained\tCPU us/request")
	}
	for _, f := range r.Packets {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%d\t%.5f\t%d\t%d\t%.1f\n", f.Variant, f.Sent, f.PerSecond, f.Captured, f.Share, f.KernelDrops, f.Unexplained, f.CPUMicros)
	}
	_ = w.Flush()
	fmt.Fprintln(w, "\ntarget\tfigure\t95 % of it\taimed at\t")
	for _, t := range r.Targets {
		verdict := "reached"
		switch {
		case t.Limit == "":
			verdict = ""
		case !t.Reached:
			verdict = "MISSED"
		}
		spread := ""
		if t.Ratio.Low != t.Ratio.High {
			spread = fmt.Sprintf("%.3f to %.3f", t.Ratio.Low, t.Ratio.High)
		}
		fmt.Fprintf(w, "%s\t%.4g\t%s\t%s\t%s\n", t.Name, t.Ratio.Median, spread, t.Limit, verdict)
	}
	_ = w.Flush()
	for _, s := range r.Skipped {
		fmt.Fprintln(to, "skipped:", s)
	}
}
