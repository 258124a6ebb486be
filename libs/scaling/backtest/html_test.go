package backtest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestLogTicksNameMoreThanOneValue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		lo, hi float64
		want   []float64
	}{
		{0.03, 0.54, []float64{0.05, 0.1, 0.2, 0.5}},
		{1e-6, 1e-3, []float64{1e-6, 1e-5, 1e-4, 1e-3}},
	} {
		got := scale{lo: tc.lo, hi: tc.hi, log: true}.ticks()
		if diff := cmp.Diff(tc.want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
			t.Errorf("%g to %g (-want +got):\n%s", tc.lo, tc.hi, diff)
		}
	}
}

func TestReportNamesOnlyWhatItDraws(t *testing.T) {
	t.Parallel()
	seen, dear := line{name: "seen"}, line{name: "dear"}
	seen.add(1, 0.1)
	dear.add(2, 0.1)
	svg := string(plot{loX: 0.75, hiX: 1.6, lines: []line{dear, seen}}.svg())
	if !strings.Contains(svg, ">seen</text>") || strings.Contains(svg, ">dear</text>") {
		t.Errorf("want the line that is seen named alone:\n%s", svg)
	}
	if got := percent(10.58); got != "1058 %" {
		t.Errorf("percent = %q", got)
	}
}

func TestReportFormats(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Policies = []string{Oracle, "Static"}
	r := run(t, shop(5, 5*time.Minute), o)

	var js bytes.Buffer
	if err := r.WriteJSON(&js); err != nil {
		t.Fatal(err)
	}
	var back Report
	d := json.NewDecoder(&js)
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Errorf("JSON loses something:\n%s", diff)
	}

	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Foreshadow", "Clairvoyant", "Static", "Kubernetes HPA at target 70 %", "instance-hours", "budget 1.20 of the HPA's", "assumed so that 40 carry"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}

	var html bytes.Buffer
	if err := r.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	checkPage(t, html.String())
	// What a person reads on the page is what the table says.
	for _, c := range r.Curves {
		for _, cell := range []string{orDash(c.AtCost, percent), times(c.AtCostRatio), r.WayAtCost(c), times(c.AtViolations), r.WayAtViolations(c), times(c.ActionsRatio)} {
			if !strings.Contains(html.String(), "<td>"+cell+"</td>") || !strings.Contains(table.String(), cell) {
				t.Errorf("%s: %q is not both on the page and in the table", c.Policy, cell)
			}
		}
	}
}

func TestThePageNamesItsSourceHarmlessly(t *testing.T) {
	t.Parallel()
	r := Report{Source: `sum(rate(http_requests_total{code!~"5.."}[1m])) <script>`, Curves: []Curve{{Policy: `<script>`, Points: []Point{{Setting: "<script>", InstanceHours: 1}}}}}
	var page bytes.Buffer
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "sum(rate(http_requests_total{code!~&#34;5..&#34;}[1m]))") {
		t.Error("the page does not say whose demand it is")
	}
	checkPage(t, page.String())
}

func TestEveryPolicyIsDescribed(t *testing.T) {
	t.Parallel()
	var r Report
	for _, name := range Policies() {
		r.Curves = append(r.Curves, Curve{Policy: name})
	}
	for _, d := range r.described() {
		if d.What == "" {
			t.Errorf("the page does not say what %q does", d.Policy)
		}
	}
}

func TestWayToTheOracle(t *testing.T) {
	t.Parallel()
	r := Report{Reference: Point{ViolatedShare: 0.01}, Curves: []Curve{{Policy: Oracle, Points: []Point{{}}, AtCost: 0.002, AtViolations: 0.8}}}
	for _, tc := range []struct {
		curve        Curve
		atCost, cost string
	}{
		{r.Curves[0], "100 %", "100 %"},
		{Curve{AtCost: 0.01, AtViolations: 1}, "0 %", "0 %"},
		{Curve{AtCost: 0.004, AtViolations: 0.9}, "75 %", "50 %"},
		{Curve{AtCost: 0.018, AtViolations: 1.1}, "-100 %", "-50 %"},
		{Curve{AtCost: -1, AtViolations: -1}, "-", "-"},
	} {
		if a, b := r.WayAtCost(tc.curve), r.WayAtViolations(tc.curve); a != tc.atCost || b != tc.cost {
			t.Errorf("%+v: %s and %s, want %s and %s", tc.curve, a, b, tc.atCost, tc.cost)
		}
	}
	r.Curves[0].AtCost = 0.01 // the oracle can do nothing about what is violated
	if got := r.WayAtCost(Curve{AtCost: 0.01}); got != "-" {
		t.Errorf("of no way: %s", got)
	}
	if got := (Report{Reference: r.Reference}).WayAtCost(Curve{AtCost: 0.001}); got != "-" {
		t.Errorf("without an oracle: %s", got)
	}
}

// TestParetoJoinsWhatNothingBeats: a setting that costs more and violates no less is a hollow dot beside the line, one without
// violations lies at "none", and one beyond the chart is left out.
func TestParetoJoinsWhatNothingBeats(t *testing.T) {
	t.Parallel()
	r := Report{Reference: Point{InstanceHours: 100, ViolatedShare: 0.01}, Curves: []Curve{{Policy: Foreshadow, Points: []Point{
		{Setting: "a", InstanceHours: 90, ViolatedShare: 0.1}, {Setting: "alike", InstanceHours: 90, ViolatedShare: 0.1}, {Setting: "b", InstanceHours: 100, ViolatedShare: 0.2},
		{Setting: "c", InstanceHours: 110}, {Setting: "d", InstanceHours: 120}, {Setting: "e", InstanceHours: 200},
	}}}}
	chart := string(r.pareto())
	if n, hollow := strings.Count(chart, "<circle"), strings.Count(chart, `fill="#ffffff"`); n != 5 || hollow != 2 {
		t.Errorf("%d dots, %d of them hollow, want 5 and 2", n, hollow)
	}
	for _, want := range []string{">none<", ">10 %<", "Foreshadow, a: 0.900 of the HPA&#39;s cost, 10 % violated", `class="mark"`} {
		if !strings.Contains(chart, want) {
			t.Errorf("the chart lacks %q:\n%s", want, chart)
		}
	}
	_, path, _ := strings.Cut(chart, `stroke="#0b6e4f"`)
	path, _, _ = strings.Cut(path, "/>")
	if strings.Count(path, "L") != 2 {
		t.Errorf("the line joins more than the best settings, of which two are alike: %s", path)
	}
}

func TestAreaLeavesOutWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	p := plot{lines: []line{{colour: "#abc", points: [][2]float64{{0, 2}, {1, nan}, {2, 3}, {3, 4}}, base: []float64{1, 1, 1, 2}}}}
	chart := string(p.svg())
	if n := strings.Count(chart, `Z"/>`); n != 2 || strings.Contains(chart, "NaN") {
		t.Errorf("%d areas, want one before and one after the gap:\n%s", n, chart)
	}
}

func checkPage(t *testing.T, page string) {
	t.Helper()
	for _, foreign := range []string{"http://", "https://", "<script", "<link", "src=", "@import", "url(", "NaN", "Inf", "%!"} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page holds %q", foreign)
		}
	}
	if n := strings.Count(page, "<svg"); n != 4 {
		t.Errorf("%d charts, want 4", n)
	}
	for rest := page; ; {
		_, after, ok := strings.Cut(rest, "<svg")
		if !ok {
			return
		}
		chart, next, _ := strings.Cut(after, "</svg>")
		d := xml.NewDecoder(strings.NewReader("<svg" + chart + "</svg>"))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("a chart is not well-formed: %v", err)
			}
		}
		rest = next
	}
}

func TestEmptyChartsDraw(t *testing.T) {
	t.Parallel()
	for _, p := range []plot{{}, {logY: true}, {lines: []line{{points: [][2]float64{{1, 1}}}}}, {loX: 0, hiX: 1, lines: []line{{points: [][2]float64{{5, 5}}}}}} {
		if s := string(p.svg()); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
			t.Errorf("chart of nothing: %s", s)
		}
	}
}
