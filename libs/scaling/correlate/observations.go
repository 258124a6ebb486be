package correlate

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Errors of Fit.
var (
	ErrShape     = errors.New("observations do not line up")
	ErrTooFew    = errors.New("too few usable observations")
	ErrCollinear = errors.New("strata cannot be told apart")
)

// Observations are what one instance received and used, one row per moment, oldest first and equally spaced.
// NaN and infinities mark what was not measured.
type Observations struct {
	Strata    []string    // names of the columns of Rates
	Rates     [][]float64 // requests/s one instance received: a row per moment, a column per stratum
	Resources []Resource
}

// Resource is the measured use of one resource by one instance.
type Resource struct {
	Name  string
	Usage []float64 // one value per row of Rates: cores, bytes, or bytes/s
}

// Total returns the same observations with all strata summed into one: what can be asked when the strata move together.
func (o Observations) Total() Observations {
	out := Observations{Strata: []string{"all"}, Resources: o.Resources, Rates: make([][]float64, len(o.Rates))}
	for i, row := range o.Rates {
		total := 0.0
		for _, v := range row {
			total += v
		}
		out.Rates[i] = []float64{total}
	}
	return out
}

func (o Observations) validate() error {
	if len(o.Strata) == 0 {
		return fmt.Errorf("check observations: no strata: %w", ErrShape)
	}
	for i, row := range o.Rates {
		if len(row) != len(o.Strata) {
			return fmt.Errorf("check observations: row %d has %d rates for %d strata: %w", i, len(row), len(o.Strata), ErrShape)
		}
	}
	for _, r := range o.Resources {
		if len(r.Usage) != len(o.Rates) {
			return fmt.Errorf("check observations: %s has %d values for %d rows: %w", r.Name, len(r.Usage), len(o.Rates), ErrShape)
		}
	}
	return nil
}

// sample is the usable part of the observations of one resource at one lag.
type sample struct {
	strata []string
	x      [][]float64
	y      []float64
}

// at pairs each usage with the rates lag rows before it, dropping every row that is not wholly measured. Rows before
// first are left out, so that lags are compared on the same usage.
func (o Observations) at(r Resource, lag, first int) sample {
	s := sample{strata: o.Strata}
	for i := max(lag, first); i < len(r.Usage); i++ {
		if finite(r.Usage[i]) && allFinite(o.Rates[i-lag]) {
			s.x = append(s.x, o.Rates[i-lag])
			s.y = append(s.y, r.Usage[i])
		}
	}
	return s
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func allFinite(row []float64) bool {
	for _, v := range row {
		if !finite(v) {
			return false
		}
	}
	return true
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(quoted, ", ")
}
