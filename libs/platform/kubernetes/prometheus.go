package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// maxAnswer bounds what is read from Prometheus.
const maxAnswer = 16 << 20

// prometheus reads the counters that cAdvisor keeps of each pod, through Prometheus' HTTP API.
type prometheus struct {
	base string
	http *http.Client
}

func newPrometheus(base string) *prometheus {
	return &prometheus{base: strings.TrimSuffix(base, "/"), http: &http.Client{Timeout: callTimeout}}
}

// The series of cAdvisor, by what they give.
var series = []struct {
	query string
	set   func(*platform.Usage, float64)
}{
	{`sum by (pod) (container_cpu_usage_seconds_total{%s,container!="",container!="POD"})`, func(u *platform.Usage, v float64) { u.CPUSeconds = v }},
	{`sum by (pod) (container_memory_working_set_bytes{%s,container!="",container!="POD"})`, func(u *platform.Usage, v float64) { u.MemoryBytes = uint64(v) }},
	{`sum by (pod) (container_network_receive_bytes_total{%s,interface!="lo"})`, func(u *platform.Usage, v float64) { u.ReceivedBytes = uint64(v) }},
	{`sum by (pod) (container_network_transmit_bytes_total{%s,interface!="lo"})`, func(u *platform.Usage, v float64) { u.TransmittedBytes = uint64(v) }},
}

func (p *prometheus) read(ctx context.Context, r *reading) ([]platform.Usage, error) {
	if len(r.pods) == 0 {
		return nil, nil
	}
	names := make([]string, len(r.pods))
	for i := range r.pods {
		names[i] = regexp.QuoteMeta(r.pods[i].Name)
	}
	// The matcher is a Go string in PromQL, so that the regular expression's backslashes are escaped once more.
	matcher := fmt.Sprintf("namespace=%q,pod=~%q", r.Namespace, strings.Join(names, "|"))
	found := map[string][]sample{}
	for i, s := range series {
		values, err := p.query(ctx, fmt.Sprintf(s.query, matcher))
		if err != nil {
			return nil, fmt.Errorf("ask Prometheus at %s: %w", p.base, err)
		}
		for pod, v := range values {
			if len(found[pod]) == i { // has all series so far
				found[pod] = append(found[pod], v)
			}
		}
	}
	var out []platform.Usage
	for i := range r.pods {
		samples := found[r.pods[i].Name]
		if len(samples) < 2 { // a pod on the host's network has no network series of its own
			continue
		}
		u := r.usageOf(&r.pods[i])
		for j, s := range samples {
			series[j].set(&u, s.value)
		}
		u.Time = samples[0].at
		out = append(out, u)
	}
	return out, nil
}

// sample is one value.
type sample struct {
	at    time.Time
	value float64
}

// query evaluates an instant query and returns its values by pod.
func (p *prometheus) query(ctx context.Context, query string) (map[string]sample, error) {
	body := strings.NewReader(url.Values{"query": {query}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/api/v1/query", body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return decodeVector(resp.StatusCode, data)
}

// decodeVector reads the answer to an instant query.
func decodeVector(status int, data []byte) (map[string]sample, error) {
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("decode answer of status %d: %w", status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("status %d: %s", status, answer.Error)
	}
	out := map[string]sample{}
	for _, r := range answer.Data.Result {
		at, isNumber := r.Value[0].(float64)
		text, isText := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if !isNumber || !isText || err != nil || !(value >= 0) {
			continue // NaN, or stale
		}
		out[r.Metric["pod"]] = sample{at: time.UnixMilli(int64(at * 1000)), value: value}
	}
	return out, nil
}
