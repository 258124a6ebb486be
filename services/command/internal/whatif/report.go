package whatif

import (
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/encoding/protojson"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Report shows what came of an experiment.
type Report struct{ Experiment *foreshadowv1.Experiment }

// row is one cell as it is shown.
type row struct {
	Configuration, Load, Rate, Met, Latency, Errors, CPU, Memory, Price string
}

var heading = row{"configuration", "load", "requests/s", "SLO met", "latency [95 % interval]", "errors", "CPU cores", "memory MiB", "price per million"}

func (r Report) rows() []row {
	var out []row
	for _, c := range r.Experiment.GetCells() {
		line := row{Configuration: c.GetConfiguration(), Load: c.GetLoad(), Rate: fmt.Sprintf("%.1f", c.GetRequestsPerSecond())}
		if s := c.GetResult(); s == nil {
			line.Met = "no result: " + c.GetFailure()
		} else {
			line.Met, line.Latency = "yes", fmt.Sprintf("%s [%s, %s]", milliseconds(s.GetLatencySeconds()), milliseconds(s.GetLowerLatencySeconds()), milliseconds(s.GetUpperLatencySeconds()))
			if !s.GetSloMet() {
				line.Met = "no: " + s.GetBroken()
			}
			line.Errors = fmt.Sprintf("%.2f %%", 100*s.GetErrorRatio())
			line.CPU, line.Memory, line.Price = unlessZero("%.2f", s.GetCpuCores()), unlessZero("%.0f", float64(s.GetMemoryBytes())/(1<<20)), unlessZero("%.4f", c.GetPricePerMillion())
		}
		out = append(out, line)
	}
	return out
}

func milliseconds(seconds float64) string {
	if seconds >= math.MaxFloat32 {
		return "∞"
	}
	return fmt.Sprintf("%.0f ms", seconds*1e3)
}

func unlessZero(format string, v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// State is where an experiment stands, in a word.
func State(e *foreshadowv1.Experiment) string {
	return strings.ToLower(strings.TrimPrefix(e.GetState().String(), "EXPERIMENT_STATE_"))
}

// conclusion is the answer in one line.
func (r Report) conclusion() string {
	e := r.Experiment
	switch {
	case e.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED:
		return strings.TrimSuffix(fmt.Sprintf("Experiment %s: %s: %s", e.GetExperimentId(), State(e), e.GetFailure()), ": ")
	case e.GetCheapest() == "":
		return "No configuration met the SLO under every load."
	}
	return "Cheapest configuration that met the SLO under every load: " + e.GetCheapest()
}

// WriteTable writes it for a terminal.
func (r Report) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range append([]row{heading}, r.rows()...) {
		fmt.Fprintln(w, strings.TrimRight(strings.Join([]string{l.Configuration, l.Load, l.Rate, l.Met, l.Latency, l.Errors, l.CPU, l.Memory, l.Price}, "\t"), "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	_, err := fmt.Fprintf(out, "\n%s\n", r.conclusion())
	return err
}

// WriteJSON writes the experiment in protobuf's JSON.
func (r Report) WriteJSON(out io.Writer) error {
	data, err := protojson.MarshalOptions{Multiline: true, UseProtoNames: true}.Marshal(r.Experiment)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", data)
	return err
}

// page needs nothing from outside. Colours are those of Okabe and Ito, which the colour-blind can tell apart.
var page = template.Must(template.New("report").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Experiment {{.ID}}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}table{border-collapse:collapse}
td,th{padding:.3rem .8rem;text-align:left;border-bottom:1px solid #ccc}svg{max-width:100%;height:auto}.no{color:#a33}</style>
<h1>What would happen if: {{.Workload}}</h1><p>{{.Conclusion}}</p>{{.Chart}}
<table><thead><tr>{{with .Heading}}<th>{{.Configuration}}<th>{{.Load}}<th>{{.Rate}}<th>{{.Met}}<th>{{.Latency}}<th>{{.Errors}}<th>{{.CPU}}<th>{{.Memory}}<th>{{.Price}}{{end}}</tr></thead>
<tbody>{{range .Rows}}<tr><td>{{.Configuration}}<td>{{.Load}}<td>{{.Rate}}<td{{if ne .Met "yes"}} class="no"{{end}}>{{.Met}}<td>{{.Latency}}<td>{{.Errors}}<td>{{.CPU}}<td>{{.Memory}}<td>{{.Price}}</tr>
{{end}}</tbody></table></html>
`))

// WriteHTML writes a page with a chart.
func (r Report) WriteHTML(out io.Writer) error {
	e := r.Experiment
	err := page.Execute(out, map[string]any{
		"ID": e.GetExperimentId(), "Workload": e.GetWorkload(), "Conclusion": r.conclusion(), "Heading": heading, "Rows": r.rows(), "Chart": r.chart(),
	})
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
