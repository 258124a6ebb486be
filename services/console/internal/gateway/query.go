package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

// declared is a workload as the user declared it: what the page needs to judge the numbers by.
type declared struct {
	Name            string  `json:"name"`
	SLOQuantile     float64 `json:"slo_quantile"`
	SLOLatency      float64 `json:"slo_latency_seconds"`
	SLOErrorRatio   float64 `json:"slo_error_ratio"`
	MinInstances    int     `json:"min_instances"`
	MaxInstances    int     `json:"max_instances"`
	Policy          string  `json:"policy"`
	Mode            string  `json:"mode"`
	IntervalSeconds float64 `json:"interval_seconds"`
}

func (g *gateway) listWorkloads(w http.ResponseWriter, _ *http.Request) {
	list := make([]declared, 0, len(g.Workloads))
	for _, wl := range g.Workloads {
		list = append(list, declared{
			Name: wl.Name, SLOQuantile: wl.SLO.Quantile, SLOLatency: wl.SLO.Latency.Seconds(), SLOErrorRatio: wl.SLO.ErrorRatio,
			MinInstances: wl.Instances.Min, MaxInstances: wl.Instances.Max, Policy: string(wl.Policy.Kind),
			Mode: string(wl.Guardrails.Mode), IntervalSeconds: wl.Policy.Interval.Seconds(),
		})
	}
	body, err := json.Marshal(map[string][]declared{"workloads": list})
	if err != nil {
		g.fail(w, "", err)
		return
	}
	writeBody(w, http.StatusOK, body)
}

func (g *gateway) windows(r *http.Request, workload string) (string, proto.Message, error) {
	p := parameters{values: r.URL.Query()}
	req := &foreshadowv1.QueryWindowsRequest{
		Workload: workload, Environment: foreshadowv1.Environment(p.enum("environment", "ENVIRONMENT_", "production", foreshadowv1.Environment_value)),
		Kind:      foreshadowv1.WindowKind(p.enum("kind", "WINDOW_KIND_", "traffic", foreshadowv1.WindowKind_value)),
		StartTime: p.time("start_time"), EndTime: p.time("end_time"), StepSeconds: p.number("step_seconds"),
		TotalsOnly: p.boolean("totals_only"), PageSize: p.size(), PageToken: p.values.Get("page_token"),
	}
	if p.err != nil {
		return "", nil, p.err
	}
	resp, err := g.Clients.History.QueryWindows(r.Context(), req)
	return upstream.History, resp, err
}

func (g *gateway) recommendation(r *http.Request, workload string) (string, proto.Message, error) {
	resp, err := g.Clients.Recommendations.GetRecommendation(r.Context(), &foreshadowv1.GetRecommendationRequest{Workload: workload})
	return upstream.Predictor, resp, err
}

func (g *gateway) forecast(r *http.Request, workload string) (string, proto.Message, error) {
	p := parameters{values: r.URL.Query()}
	req := &foreshadowv1.GetForecastRequest{Workload: workload, HorizonSeconds: p.number("horizon_seconds")}
	if p.err != nil {
		return "", nil, p.err
	}
	resp, err := g.Clients.Forecasts.GetForecast(r.Context(), req)
	return upstream.Predictor, resp, err
}

func (g *gateway) actions(r *http.Request, workload string) (string, proto.Message, error) {
	p := parameters{values: r.URL.Query()}
	req := &foreshadowv1.ListActionsRequest{Workload: workload, PageSize: p.size(), PageToken: p.values.Get("page_token")}
	if p.err != nil {
		return "", nil, p.err
	}
	resp, err := g.Clients.Provisioning.ListActions(r.Context(), req)
	return upstream.Provisioner, resp, err
}

func (g *gateway) capacity(r *http.Request, workload string) (string, proto.Message, error) {
	p := parameters{values: r.URL.Query()}
	req := &foreshadowv1.QueryCapacityMeasurementsRequest{Workload: workload, PageSize: p.size(), PageToken: p.values.Get("page_token")}
	if p.err != nil {
		return "", nil, p.err
	}
	resp, err := g.Clients.History.QueryCapacityMeasurements(r.Context(), req)
	return upstream.History, resp, err
}

func (g *gateway) provisioning(r *http.Request, workload string) (string, proto.Message, error) {
	resp, err := g.Clients.Provisioning.GetProvisioningStatus(r.Context(), &foreshadowv1.GetProvisioningStatusRequest{Workload: workload})
	return upstream.Provisioner, resp, err
}

// parameters reads query parameters and keeps the first fault.
type parameters struct {
	values url.Values
	err    error
}

func (p *parameters) fault(key, problem string) {
	if p.err == nil {
		p.err = &rpc.FieldError{Field: key, Problem: problem}
	}
}

func (p *parameters) enum(key, prefix, otherwise string, values map[string]int32) int32 {
	text := p.values.Get(key)
	if text == "" {
		text = otherwise
	}
	v, known := values[prefix+strings.ToUpper(text)]
	if !known || v == 0 {
		p.fault(key, "unknown value "+strconv.Quote(text))
	}
	return v
}

func (p *parameters) time(key string) *timestamppb.Timestamp {
	text := p.values.Get(key)
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		p.fault(key, "want a time such as 2026-01-02T15:04:05Z, got "+strconv.Quote(text))
		return nil
	}
	return timestamppb.New(t)
}

func (p *parameters) number(key string) float64 {
	text := p.values.Get(key)
	if text == "" {
		return 0
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0) {
		p.fault(key, "want a number of at least 0, got "+strconv.Quote(text))
	}
	return v
}

func (p *parameters) boolean(key string) bool {
	text := p.values.Get(key)
	if text == "" {
		return false
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		p.fault(key, "want true or false, got "+strconv.Quote(text))
	}
	return v
}

func (p *parameters) size() int32 {
	text := p.values.Get("page_size")
	if text == "" {
		return 0
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil || v < 0 {
		p.fault("page_size", "want a whole number of at least 0, got "+strconv.Quote(text))
	}
	return int32(v)
}
