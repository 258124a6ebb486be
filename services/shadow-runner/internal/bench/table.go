//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table is what was found.
type table struct{ rows []row }

type row struct {
	what, target, figure string
	met, told            bool
}

// check adds a figure with a target.
func (t *table) check(met bool, what, target, format string, args ...any) {
	t.rows = append(t.rows, row{what: what, target: target, figure: fmt.Sprintf(format, args...), met: met})
}

// tell adds a figure without one.
func (t *table) tell(what, format string, args ...any) {
	t.rows = append(t.rows, row{what: what, target: "-", figure: fmt.Sprintf(format, args...), met: true, told: true})
}

// print is an error when a target was missed.
func (t *table) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\ttarget\tfigure\t")
	missed := 0
	for _, r := range t.rows {
		verdict := "met"
		switch {
		case r.told:
			verdict = ""
		case !r.met:
			verdict = "MISSED"
			missed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.what, r.target, r.figure, verdict)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d targets were missed", missed, len(t.rows))
	}
	return nil
}
