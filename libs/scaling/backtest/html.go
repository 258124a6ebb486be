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
		Pareto, Days3, Errors, Reached template.HTML
	}{r, r.ranked(), r.pareto(), r.timeline(), r.errorByHorizon(), r.calibration()}
	if err := t.Execute(out, view); err != nil {
		return fmt.Errorf("write report page: %w", err)
	}
	return nil
}

var palette = [...]string{"#0b6e4f", "#b3261e", "#5b4b9a", "#8a5a00", "#00629b", "#7a7a7a", "#a03f8e", "#3f7f00", "#c26a00", "#444444"}

// pareto draws every policy's violations against its cost, relative to the reference.
func (r Report) pareto() template.HTML {
	p := plot{title: "Violated requests against cost", x: "instance-hours, of the HPA's", y: "requests violated", logY: true, loX: 0.75, hiX: 1.6}
	for i, c := range r.Curves {
		l := line{name: c.Policy, colour: palette[i%len(palette)], dots: true}
		for _, v := range c.Points {
			l.add(v.InstanceHours/math.Max(r.Reference.InstanceHours, 1e-9), math.Max(v.ViolatedShare, violationFloor))
		}
		p.lines = append(p.lines, l)
	}
	return p.svg()
}

// timeline draws demand, forecast and what both policies could carry, over the last days.
func (r Report) timeline() template.HTML {
	p := plot{title: "The last days", x: "hours", y: "per second"}
	demand := line{name: "demand", colour: "#222222"}
	upper := line{name: "forecast, 0.95 quantile", colour: "#9ac7b4"}
	ours := line{name: "Foreshadow carries", colour: palette[0]}
	theirs := line{name: "HPA carries", colour: palette[1]}
	for i, v := range r.Trace.Demand {
		x := float64(i) * r.Trace.StepSeconds / 3600
		demand.addKnown(x, v)
		upper.addKnown(x, r.Trace.Upper[i])
		ours.add(x, r.Trace.Foreshadow[i]*r.Capacity)
		theirs.add(x, r.Trace.Reference[i]*r.Capacity)
	}
	p.lines = []line{upper, theirs, ours, demand}
	return p.svg()
}

func (r Report) errorByHorizon() template.HTML {
	p := plot{title: "Error by horizon", x: "minutes ahead", y: "mean error, of the mean demand"}
	ours, naive := line{name: "forecast", colour: palette[0], dots: true}, line{name: "repeating the last value", colour: palette[1], dots: true}
	for _, h := range r.Forecast {
		ours.add(h.Minutes, h.Relative)
		naive.add(h.Minutes, h.Naive)
	}
	p.lines = []line{ours, naive}
	return p.svg()
}

func (r Report) calibration() template.HTML {
	p := plot{title: "Calibration", x: "quantile promised", y: "share of demand below it", loX: 0.4, hiX: 1}
	p.lines = append(p.lines, line{name: "perfect", colour: "#bbbbbb", points: [][2]float64{{0.4, 0.4}, {1, 1}}})
	for i, k := range []int{0, 5, 11} {
		if k >= len(r.Forecast) {
			break
		}
		l := line{name: fmt.Sprintf("%d steps ahead", r.Forecast[k].Steps), colour: palette[i], dots: true}
		for _, c := range r.Forecast[k].Coverage {
			l.add(c.Level, c.Observed)
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
