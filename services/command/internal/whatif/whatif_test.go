package whatif_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/command/internal/whatif"
)

const good = `workload: shop
hold: 20s
budget: {instances: 4, minutes: 5}
side_by_side: true
configurations:
  - name: as-is
  - name: big
    instances: 2
    shadow_instances: 2
    cpu_cores: 2
    memory_bytes: 1073741824
    env: {WORKERS: "8"}
    image: ./shop-v2
loads:
  - {name: now, times: 1}
  - {name: peak, recorded_peak: 168h}
  - {name: tomorrow, forecast_day: 24h, quantile: 0.9}
`

type history struct {
	foreshadowv1.HistoryServiceClient
}

func (history) QueryWindows(_ context.Context, req *foreshadowv1.QueryWindowsRequest, _ ...grpc.CallOption) (*foreshadowv1.QueryWindowsResponse, error) {
	window := func(n uint64) *foreshadowv1.MetricsWindowed {
		return &foreshadowv1.MetricsWindowed{DurationSeconds: 60, Content: &foreshadowv1.MetricsWindowed_Traffic{
			Traffic: &foreshadowv1.TrafficWindow{Strata: []*foreshadowv1.Traffic{{Requests: n / 2}, {Requests: n / 2}}},
		}}
	}
	if req.GetPageToken() == "" {
		return &foreshadowv1.QueryWindowsResponse{Windows: []*foreshadowv1.MetricsWindowed{window(600), window(1200)}, NextPageToken: "more"}, nil
	}
	return &foreshadowv1.QueryWindowsResponse{Windows: []*foreshadowv1.MetricsWindowed{window(5400)}}, nil
}

type forecasts struct{ points int }

func (f forecasts) GetForecast(_ context.Context, req *foreshadowv1.GetForecastRequest, _ ...grpc.CallOption) (*foreshadowv1.GetForecastResponse, error) {
	out := &foreshadowv1.Forecast{}
	for i := range f.points {
		out.Points = append(out.Points, &foreshadowv1.ForecastPoint{MeanPerSecond: float64(i), Quantiles: []*foreshadowv1.QuantileValue{
			{Level: 0.5, ValuePerSecond: float64(i)}, {Level: 0.9, ValuePerSecond: float64(i) + 5},
		}})
	}
	return &foreshadowv1.GetForecastResponse{Forecast: out}, nil
}

func TestAGoodFileBecomesARequest(t *testing.T) {
	t.Parallel()
	f, err := whatif.Parse("e.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	req, err := whatif.Sources{History: history{}, Forecasts: forecasts{3}, Now: time.Now}.Resolve(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	m := req.GetMatrix()
	if req.GetWorkload() != "shop" || req.GetHoldSeconds() != 20 || m.GetMaxInstances() != 4 || m.GetMaxMinutes() != 5 || !m.GetSideBySide() {
		t.Errorf("request %v", req)
	}
	if c := m.GetConfigurations(); c[0].GetInstances() != 1 || c[1].GetShadowInstances() != 2 || c[1].GetEnvironment()["WORKERS"] != "8" || c[1].GetImage() != "./shop-v2" {
		t.Errorf("configurations %v", c)
	}
	l := m.GetLoads()
	if l[0].GetAmplification() != 1 || l[1].GetRequestsPerSecond() != 90 {
		t.Errorf("loads %v, want the busiest minute of 5400 requests as 90 requests/s", l)
	}
	if diff := cmp.Diff([]float64{5, 6, 7}, l[2].GetShapePerSecond()); diff != "" {
		t.Errorf("forecast (-want +got):\n%s", diff)
	}
	req, err = whatif.Sources{History: history{}, Forecasts: forecasts{5760}, Now: time.Now}.Resolve(t.Context(), f)
	if shape := req.GetMatrix().GetLoads()[2].GetShapePerSecond(); err != nil || len(shape) != 1440 || shape[1439] != 5764 {
		t.Errorf("a forecast of 5,760 steps became %d, %v; want 1,440 that keep the peak", len(shape), err)
	}
	f.Loads[2].Quantile = 0.99
	if _, err = (whatif.Sources{History: history{}, Forecasts: forecasts{3}, Now: time.Now}).Resolve(t.Context(), f); err == nil || !strings.Contains(err.Error(), "tomorrow: the forecast has no quantile 0.99") {
		t.Errorf("got %v", err)
	}
}

// A file with many faults gets one line for each, with its number.
func TestEveryFaultHasItsLine(t *testing.T) {
	t.Parallel()
	bad := `workload: shop
hold: 1h
budgett: {}
budget: {instances: 0, minutes: 30}
configurations:
  - name: As Is
    instances: many
  - name: big
    cpu_cores: -1
  - name: big
    shadow_instances: 3
loads:
  - {name: now, times: 11}
  - {name: peak}
  - {name: both, times: 1, rate: 5}
  - {name: odd, rate: 5, quantile: 0.9}
`
	_, err := whatif.Parse("e.yaml", []byte(bad))
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		`e.yaml:3: unknown key "budgett"; did you mean "budget"?`, "e.yaml:7: ", "e.yaml:2: hold: ", "e.yaml:4: budget.instances: ",
		"e.yaml:6: configurations[0].name: ", "e.yaml:9: configurations[1].cpu_cores: ", "e.yaml:10: configurations[2].name: ",
		"e.yaml:11: configurations[2].shadow_instances: ", "e.yaml:13: loads[0].times: ", "e.yaml:14: loads[1]: ", "e.yaml:15: loads[2]: ", "e.yaml:16: loads[3].quantile: ",
	}
	for _, w := range want {
		if strings.Count(err.Error(), w) != 1 {
			t.Errorf("want once %q", w)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != len(want) {
		t.Errorf("%d lines for %d faults:\n%v", n, len(want), err)
	}
	for name, text := range map[string]string{"empty": "", "not YAML": "a: [", "no loads": "workload: shop\nconfigurations: [{name: a}]\n"} {
		if _, err := whatif.Parse("e.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "e.yaml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = whatif.Parse("e.yaml", data) })
}

func experiment() *foreshadowv1.Experiment {
	return &foreshadowv1.Experiment{
		ExperimentId: "e1", Workload: "shop", State: foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED, Cheapest: "big",
		Cells: []*foreshadowv1.ExperimentCell{
			{Configuration: "as-is", Load: "now", RequestsPerSecond: 40, PricePerMillion: 1.25, Result: &foreshadowv1.CapacityStep{
				LatencySeconds: 0.08, LowerLatencySeconds: 0.07, UpperLatencySeconds: 0.1, SloMet: true, CpuCores: 0.5, MemoryBytes: 64 << 20,
			}},
			{Configuration: "as-is", Load: "<peak>", RequestsPerSecond: 90, Result: &foreshadowv1.CapacityStep{
				LatencySeconds: math.MaxFloat32, LowerLatencySeconds: 2, UpperLatencySeconds: math.MaxFloat32, Broken: "error ratio", ErrorRatio: 0.2,
			}},
			{Configuration: "big", Load: "now", RequestsPerSecond: 40, Failure: "the instance s1 is down or hangs"},
		},
	}
}

func TestTheReport(t *testing.T) {
	t.Parallel()
	r := whatif.Report{Experiment: experiment()}
	var table, page, text bytes.Buffer
	for _, err := range []error{r.WriteTable(&table), r.WriteHTML(&page), r.WriteJSON(&text)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"80 ms [70 ms, 100 ms]", "1.2500", "no: error ratio", "∞", "no result: the instance s1 is down or hangs", "20.00 %", "under every load: big"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, table.String())
		}
	}
	if !json.Valid(text.Bytes()) {
		t.Error("not JSON")
	}
	_, rest, _ := strings.Cut(page.String(), "<svg")
	chart, _, _ := strings.Cut(rest, "</svg>")
	d := xml.NewDecoder(strings.NewReader("<svg" + chart + "</svg>"))
	bars := 0
	for {
		token, err := d.Token()
		if token == nil {
			if err.Error() != "EOF" {
				t.Errorf("the chart is not XML: %v", err)
			}
			break
		}
		if e, is := token.(xml.StartElement); is && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 2 || strings.Contains(page.String(), "<peak>") || strings.Contains(chart, "NaN") || strings.Contains(chart, "Inf") {
		t.Errorf("%d bars for two results:\n%s", bars, chart)
	}
	cancelled := experiment()
	cancelled.State, cancelled.Cells = foreshadowv1.ExperimentState_EXPERIMENT_STATE_CANCELLED, nil
	page.Reset()
	if err := (whatif.Report{Experiment: cancelled}).WriteHTML(&page); err != nil || !strings.Contains(page.String(), "cancelled") || strings.Contains(page.String(), "<svg") {
		t.Errorf("cancelled with nothing: %v\n%s", err, page.String())
	}
}
