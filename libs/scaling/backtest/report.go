package backtest

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// Report is what a backtest found. Its JSON form is stable.
type Report struct {
	// Source names the demand for people: a file, a query, a workload. Run does not know it.
	Source         string    `json:"source,omitempty"`
	Start          time.Time `json:"start"`
	Days           float64   `json:"days"`
	ScoredDays     float64   `json:"scored_days"`
	StepSeconds    float64   `json:"step_seconds"` // of the series
	TickSeconds    float64   `json:"tick_seconds"`
	StartupSeconds float64   `json:"startup_seconds"`
	Capacity       float64   `json:"capacity"` // of one instance within the SLO, in the unit of the series
	// Instances is how many the 99th percentile of the demand takes, where the capacity was chosen so; 0 where it was given.
	Instances    int     `json:"instances,omitempty"`
	TrustedShare float64 `json:"trusted_share"`
	// PinballRatio is the forecast's pinball loss at 0.95, of that of repeating the last value; 0 when none was scored.
	PinballRatio float64 `json:"pinball_ratio"`
	// Reference is the HPA everything is compared with.
	Reference Point          `json:"reference"`
	Curves    []Curve        `json:"curves"`
	Forecast  []HorizonError `json:"forecast"`
	Trace     Trace          `json:"trace"`
}

// Curve is one policy over its settings, cheapest first.
type Curve struct {
	Policy string  `json:"policy"`
	Points []Point `json:"points"`
	// AtCost is the share of violated requests at no more than the reference's cost; AtCostRatio divides it by the
	// reference's. -1 when the policy cannot be that cheap.
	AtCost      float64 `json:"violated_share_at_cost"`
	AtCostRatio float64 `json:"violated_ratio_at_cost"`
	// AtViolations is the cost relative to the reference's at no more violations. -1 when it cannot violate so little.
	AtViolations float64 `json:"cost_ratio_at_violations"`
	// ActionsRatio is the number of scale actions relative to the reference's, at the setting nearest below its cost. -1 when
	// the policy cannot be that cheap, or the reference never acts.
	ActionsRatio float64 `json:"actions_ratio"`
}

// Point is one policy at one setting.
type Point struct {
	Setting       string  `json:"setting"`
	InstanceHours float64 `json:"instance_hours"`
	ViolatedShare float64 `json:"violated_share"`
	RefusedShare  float64 `json:"refused_share"`
	UnderAccuracy float64 `json:"under_accuracy"`
	OverAccuracy  float64 `json:"over_accuracy"`
	UnderShare    float64 `json:"under_timeshare"`
	OverShare     float64 `json:"over_timeshare"`
	ActionsPerDay float64 `json:"actions_per_day"`
	LeadSeconds   float64 `json:"mean_lead_seconds"`
	Default       bool    `json:"default"`
}

// Trace is the end of the scored time, thinned to what a chart can show: per entry the highest demand and need, and the
// instances ready under Foreshadow at its default setting and under the reference.
type Trace struct {
	Start       time.Time `json:"start"`
	StepSeconds float64   `json:"step_seconds"`
	Demand      []float64 `json:"demand"` // -1 where not known
	Upper       []float64 `json:"forecast_upper"`
	Middle      []float64 `json:"forecast_middle"`
	Foreshadow  []float64 `json:"foreshadow"`
	Reference   []float64 `json:"reference"`
}

var errNoReference = errors.New("no reference among the contenders")

func (o Options) report(w world, f *outlook, contenders []contender, results []simulate.Result) (Report, error) {
	r := Report{
		Start: w.series.Start, Days: days(time.Duration(len(w.demand)) * o.Tick), StepSeconds: w.series.Step.Seconds(),
		TickSeconds: o.Tick.Seconds(), StartupSeconds: o.Startup.Seconds(), Capacity: w.config.Capacity * w.config.MaxUtilization,
		Forecast: f.score.report(f.journey.Series.Step.Minutes()),
	}
	if o.Capacity == 0 {
		r.Instances = o.Instances
	}
	r.ScoredDays = r.Days - days(w.config.Warmup)
	r.TrustedShare, r.PinballRatio = f.trusted(), f.pinball
	index := map[string]int{}
	var foreshadow, reference *simulate.Result
	for i, c := range contenders {
		at, ok := index[c.curve]
		if !ok {
			at = len(r.Curves)
			index[c.curve] = at
			r.Curves = append(r.Curves, Curve{Policy: c.curve})
		}
		p := point(c, results[i])
		r.Curves[at].Points = append(r.Curves[at].Points, p)
		switch {
		case c.keep && c.curve == HPA:
			r.Reference, reference = p, &results[i]
		case c.keep && c.curve == Foreshadow:
			foreshadow = &results[i]
		}
	}
	if reference == nil || foreshadow == nil {
		return Report{}, errNoReference
	}
	for i := range r.Curves {
		r.Curves[i].compare(r.Reference)
	}
	r.Trace = trace(w, f, foreshadow, reference)
	return r, nil
}

func point(c contender, r simulate.Result) Point {
	p := Point{
		Setting: c.setting, InstanceHours: r.InstanceSeconds / 3600, ViolatedShare: r.ViolatedShare(),
		UnderAccuracy: r.UnderAccuracy, OverAccuracy: r.OverAccuracy, UnderShare: r.UnderTimeshare, OverShare: r.OverTimeshare,
		ActionsPerDay: r.ActionsPerDay, Default: c.keep,
	}
	if r.Requests > 0 {
		p.RefusedShare = r.Refused / r.Requests
	}
	if lead, ok := r.MeanLead(); ok {
		p.LeadSeconds = lead.Seconds()
	}
	return p
}

// violationFloor keeps logarithms and ratios of nothing finite; it is below one request in a million.
const violationFloor = 1e-6

// compare reads the curve at the reference's cost and violations. Between two settings it is interpolated, violations on
// a logarithmic scale: a setting in between could have been chosen.
func (c *Curve) compare(ref Point) {
	slices.SortStableFunc(c.Points, func(a, b Point) int {
		switch {
		case a.InstanceHours < b.InstanceHours:
			return -1
		case a.InstanceHours > b.InstanceHours:
			return 1
		}
		return 0
	})
	c.AtCost, c.AtCostRatio, c.AtViolations, c.ActionsRatio = -1, -1, -1, -1
	violated, cheapest := math.Inf(1), math.Inf(1)
	for i, p := range c.Points {
		if p.InstanceHours <= ref.InstanceHours {
			if p.ViolatedShare <= violated {
				violated = p.ViolatedShare
				if ref.ActionsPerDay > 0 {
					c.ActionsRatio = p.ActionsPerDay / ref.ActionsPerDay
				}
			}
		}
		if p.ViolatedShare <= ref.ViolatedShare {
			cheapest = math.Min(cheapest, p.InstanceHours)
		}
		if i > 0 {
			violated = math.Min(violated, between(c.Points[i-1], p, ref.InstanceHours))
			cheapest = math.Min(cheapest, costBetween(c.Points[i-1], p, ref.ViolatedShare))
		}
	}
	if !math.IsInf(violated, 1) {
		c.AtCost = violated
		c.AtCostRatio = (violated + violationFloor) / (ref.ViolatedShare + violationFloor)
	}
	if !math.IsInf(cheapest, 1) && ref.InstanceHours > 0 {
		c.AtViolations = cheapest / ref.InstanceHours
	}
}

// between is the violated share at a cost between two points, infinite outside them.
func between(a, b Point, cost float64) float64 {
	if !(a.InstanceHours <= cost && cost < b.InstanceHours) {
		return math.Inf(1)
	}
	t := (cost - a.InstanceHours) / (b.InstanceHours - a.InstanceHours)
	return math.Exp((1-t)*math.Log(a.ViolatedShare+violationFloor)+t*math.Log(b.ViolatedShare+violationFloor)) - violationFloor
}

// costBetween is the cost at a violated share between two points, infinite outside them.
func costBetween(a, b Point, violated float64) float64 {
	from, to := math.Log(a.ViolatedShare+violationFloor), math.Log(b.ViolatedShare+violationFloor)
	at := math.Log(violated + violationFloor)
	if !(from > at && at >= to) {
		return math.Inf(1)
	}
	return a.InstanceHours + (from-at)/(from-to)*(b.InstanceHours-a.InstanceHours)
}

// Curve returns a policy's curve by name.
func (r Report) Curve(policy string) (Curve, bool) {
	for _, c := range r.Curves {
		if c.Policy == policy {
			return c, true
		}
	}
	return Curve{}, false
}

// trusted is the share of the scored time in which the forecast could be acted on.
func (f *outlook) trusted() float64 {
	scored := f.steps[f.journey.Scored:]
	if len(scored) == 0 {
		return 0
	}
	n := 0
	for _, v := range scored {
		if v.abstain == "" && v.earned {
			n++
		}
	}
	return float64(n) / float64(len(scored))
}
