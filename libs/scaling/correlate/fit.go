package correlate

import (
	"fmt"
)

// Options steer Fit. The zero value asks for no lag.
type Options struct {
	MaxLag int // rows by which usage may trail traffic; the best one is chosen per resource
}

// Model is what one instance costs, per resource and in the order of Observations.Resources.
type Model struct {
	Strata    []string
	Resources []Cost
}

// Cost is the estimated use of one resource by one instance.
type Cost struct {
	Resource    string
	Base        float64   // usage without traffic
	PerRequest  []float64 // usage per request/s, one per stratum, never negative
	StdErr      []float64 // standard error of each PerRequest; 0 for a stratum held at zero
	Lag         int       // rows by which usage trails traffic
	Diagnostics Diagnostics
}

// Diagnostics say how far to trust a Cost.
type Diagnostics struct {
	Rows        int     // observations used
	R2          float64 // share of the usage's variance explained; 0 when usage never varies
	ResidualStd float64 // standard deviation of what is left, in the resource's unit
	// Nonlinear is set when a curve explains markedly more than the line (Ramsey's RESET test, 1969): extrapolating
	// this Cost beyond the observed rates would mislead.
	Nonlinear bool
}

// Fit estimates every resource's Cost. It refuses input it cannot answer: ErrShape, ErrTooFew (fewer than two
// observations per unknown) or ErrCollinear.
func Fit(o Observations, opt Options) (Model, error) {
	if err := o.validate(); err != nil {
		return Model{}, err
	}
	m := Model{Strata: o.Strata}
	for _, r := range o.Resources {
		best, err := fitLags(o, r, max(0, opt.MaxLag))
		if err != nil {
			return Model{}, fmt.Errorf("correlate %s: %w", r.Name, err)
		}
		m.Resources = append(m.Resources, best)
	}
	return m, nil
}

// lagGain is the share of the unexplained variance a longer lag must remove to be believed.
const lagGain = 0.05

func fitLags(o Observations, r Resource, maxLag int) (Cost, error) {
	var best Cost
	for lag := range maxLag + 1 {
		c, err := fitOne(o.at(r, lag, maxLag))
		if err != nil {
			return Cost{}, err
		}
		if lag == 0 || c.Diagnostics.ResidualStd < (1-lagGain)*best.Diagnostics.ResidualStd {
			best = c
			best.Resource, best.Lag = r.Name, lag
		}
	}
	return best, nil
}

func fitOne(s sample) (Cost, error) {
	unknowns := len(s.strata) + 1
	if len(s.y) < 2*unknowns {
		return Cost{}, fmt.Errorf("fit %d observations with %d unknowns: %w", len(s.y), unknowns, ErrTooFew)
	}
	d := reduce(s, true)
	if err := d.independent(s); err != nil {
		return Cost{}, err
	}
	costs, rss, err := d.nonNegative()
	if err != nil {
		return Cost{}, err
	}
	tss := columnSquares(d)
	c := Cost{Base: d.base(costs)}
	if c.Base < 0 {
		// An idle instance cannot use less than nothing: the line goes through the origin instead.
		c.Base = 0
		d = reduce(s, false)
		if costs, rss, err = d.nonNegative(); err != nil {
			return Cost{}, err
		}
	}
	c.PerRequest = costs
	c.diagnose(s, d, rss, tss)
	return c, nil
}

// columnSquares returns the sum of squares of the usage around its mean.
func columnSquares(d reduced) float64 {
	total := 0.0
	for i := range d.p + 1 {
		total += d.r.At(i, d.p) * d.r.At(i, d.p)
	}
	return total
}

// Usage returns the estimated use at the given requests/s per stratum; rates beyond the strata are ignored.
func (c Cost) Usage(rates []float64) float64 {
	usage := c.Base
	for j, cost := range c.PerRequest {
		if j < len(rates) {
			usage += cost * rates[j]
		}
	}
	return usage
}
