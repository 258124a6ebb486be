package backtest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed report.html.tmpl
var page string

// WriteJSON writes the report for other programs.
func (r Report) WriteJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// WriteHTML writes one page that needs nothing else: no script, no font, no image from elsewhere.
func (r Report) WriteHTML(out io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"percent": percent, "times": times,
		"dash": func(v float64, s string) string { return orDash(v, func(float64) string { return s }) },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("parse report page: %w", err)
	}
	view := struct {
		Report
		Ranked                         []Curve
		Policies                       []described
		Pareto, Days3, Errors, Reached template.HTML
	}{r, r.ranked(), r.described(), r.pareto(), r.timeline(), r.errorByHorizon(), r.calibration()}
	if err := t.Execute(out, view); err != nil {
		return fmt.Errorf("write report page: %w", err)
	}
	return nil
}

// described is a policy and what it does, for who meets its name for the first time.
type described struct{ Policy, What string }

func (r Report) described() []described {
	what := map[string]string{
		Foreshadow:          "the decision that runs live; its setting is how much it may cost, of what the HPA would",
		NoBudget:            "the same without a budget, as a workload that sets none: its setting is the accepted risk, whatever it costs",
		HPA:                 "the algorithm of Kubernetes 1.37 on CPU utilization, with its default behaviour",
		Oracle:              "knows the demand to come, the oracle: nobody can do better, and what lies between is what forecasting can still gain",
		"Request rate":      "follows the newest request rate with a known capacity, and forecasts nothing",
		"HPA + cron":        "an HPA with the minimum of each hour set from what was needed at that hour before",
		"AWS predictive":    "an HPA under an hourly forecast that only ever adds, five minutes early",
		"Crane replay":      "an HPA under the last period replayed with a margin",
		"PHPA Holt-Winters": "an HPA under Holt-Winters smoothing of the number of replicas",
		"Autopilot window":  "sized for the peak of the five-minute means of a moving window",
		"Static":            "a fixed number of instances, from the peak of the time that is not scored",
	}
	var out []described
	for _, c := range r.Curves {
		out = append(out, described{c.Policy, what[c.Policy]})
	}
	return out
}

var palette = [...]string{"#0b6e4f", "#b3261e", "#5b4b9a", "#222222", "#00629b", "#7a7a7a", "#a03f8e", "#6b8f00", "#c26a00", "#8a5a00", "#2f7fd1"}

// pareto draws every policy's violations against its cost, relative to the reference. The line of a policy joins its settings
// that none of its own beats in both.
func (r Report) pareto() template.HTML {
	of := math.Max(r.Reference.InstanceHours, 1e-9)
	p := plot{
		title: "Violated requests against cost", x: "instance-hours, of the HPA's", y: "requests violated", logY: true, loX: 0.75, hiX: 1.6,
		percentY: true, none: violationFloor, marks: [][2]float64{{1, math.Max(r.Reference.ViolatedShare, violationFloor)}},
	}
	for i, c := range r.Curves {
		l := line{name: c.Policy, colour: palette[i%len(palette)], dots: true, wide: c.Policy == Foreshadow}
		best := Point{ViolatedShare: math.Inf(1)}
		for _, v := range c.Points {
			l.add(v.InstanceHours/of, math.Max(v.ViolatedShare, violationFloor))
			alike := v.ViolatedShare == best.ViolatedShare && v.InstanceHours == best.InstanceHours
			l.apart = append(l.apart, v.ViolatedShare >= best.ViolatedShare && !alike)
			if v.ViolatedShare < best.ViolatedShare {
				best = v
			}
			l.titles = append(l.titles, fmt.Sprintf("%s, %s: %.3f of the HPA's cost, %s violated", c.Policy, v.Setting, v.InstanceHours/of, percent(v.ViolatedShare)))
		}
		p.lines = append(p.lines, l)
	}
	return p.svg()
}

// timeline draws demand, forecast and what both policies could carry, over the last days.
func (r Report) timeline() template.HTML {
	p := plot{
		title: "The last days", x: "hours since " + r.Trace.Start.UTC().Format("Monday 2006-01-02 15:04 UTC"), y: "requests per second",
		unit: r.Capacity, unitName: "instances",
	}
	demand := line{name: "demand", colour: "#222222"}
	ahead := line{name: "forecast, 0.5 to 0.95", colour: "#bfe3d6", base: []float64{}}
	ours := line{name: "Foreshadow", colour: palette[0], wide: true}
	theirs := line{name: "Kubernetes HPA", colour: palette[1]}
	for i, v := range r.Trace.Demand {
		x := float64(i) * r.Trace.StepSeconds / 3600
		demand.addKnown(x, v)
		ahead.addKnown(x, r.Trace.Upper[i])
		ahead.base = append(ahead.base, orUnknown(r.Trace.Middle[i]))
		ours.add(x, r.Trace.Foreshadow[i]*r.Capacity)
		theirs.add(x, r.Trace.Reference[i]*r.Capacity)
	}
	p.lines = []line{ahead, theirs, ours, demand}
	return p.svg()
}

func (r Report) errorByHorizon() template.HTML {
	p := plot{title: "Error by horizon", x: "minutes ahead", y: "mean absolute error, of the mean demand", percentY: true}
	ours, naive := line{name: "forecast", colour: palette[0], dots: true}, line{name: "repeating the last value", colour: palette[1], dots: true}
	for _, h := range r.Forecast {
		ours.add(h.Minutes, h.Relative)
		naive.add(h.Minutes, h.Naive)
	}
	p.lines = []line{ours, naive}
	return p.svg()
}

func (r Report) calibration() template.HTML {
	p := plot{
		title: "Calibration", x: "quantile promised", y: "share of the demand below it", percentY: true,
		loX: 0.4, hiX: 1, loY: 0.4, hiY: 1,
	}
	p.lines = append(p.lines, line{name: "perfect", colour: "#bbbbbb", points: [][2]float64{{0.4, 0.4}, {1, 1}}})
	for i, k := range []int{0, 5, 11} {
		if k >= len(r.Forecast) {
			break
		}
		l := line{name: fmt.Sprintf("%.4g minutes ahead", r.Forecast[k].Minutes), colour: palette[i], dots: true}
		for _, c := range r.Forecast[k].Coverage {
			l.add(c.Level, math.Max(c.Observed, p.loY))
			l.titles = append(l.titles, fmt.Sprintf("%.3g promised, %.3g observed, %s", c.Level, c.Observed, l.name))
		}
		p.lines = append(p.lines, l)
	}
	return p.svg()
}

// describe names a chart for those who cannot see it.
func describe(p plot) string {
	names := make([]string, len(p.lines))
	for i, l := range p.lines {
		names[i] = l.name
	}
	return fmt.Sprintf("%s: %s against %s for %s", p.title, p.y, p.x, strings.Join(names, ", "))
}
