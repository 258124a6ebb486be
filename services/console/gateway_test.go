package console_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console"
)

type call struct {
	method, path, body string
	header             map[string]string
}

// do makes one request; JSON bodies are declared as such unless the header says otherwise.
func (h *house) do(t *testing.T, c call) (int, []byte, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), c.method, h.url+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
		if k == "Host" {
			req.Host = v
		}
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body, resp.Header
}

func TestRoutesAnswerWithTheProtosOfTheServices(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	now := time.Now().Truncate(time.Second)
	tell(h.script, now)
	for path, want := range map[string]string{
		"/api/v1/workloads": `"slo_latency_seconds":0.1`,
		"/api/v1/workloads/shop/windows?environment=ENVIRONMENT_SHADOW&kind=WINDOW_KIND_USAGE&start_time=2026-01-02T15:04:05Z": `"ready_instances":1`,
		"/api/v1/workloads/shop/recommendation":       `"policy":"POLICY_PREDICTIVE"`,
		"/api/v1/workloads/shop/forecast":             `"trusted":true`,
		"/api/v1/workloads/shop/actions":              `"outcome":"OUTCOME_APPLIED"`,
		"/api/v1/workloads/shop/capacity?page_size=3": `"bottleneck":"BOTTLENECK_CPU"`,
		"/api/v1/workloads/shop/provisioning":         `"mode":"MODE_AUTOMATIC"`,
	} {
		code, body, header := h.do(t, call{method: http.MethodGet, path: path})
		var compact bytes.Buffer
		if err := json.Compact(&compact, body); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if code != http.StatusOK || header.Get("Content-Type") != "application/json" || !strings.Contains(compact.String(), want) {
			t.Errorf("%s = %d %.300s, want 200 with %s", path, code, compact.String(), want)
		}
	}
	got := read(h.script, func(s *script) *foreshadowv1.QueryWindowsRequest { return s.lastQuery })
	if got.Environment != shadow || got.Kind != foreshadowv1.WindowKind_WINDOW_KIND_USAGE || got.StartTime.AsTime().Year() != 2026 {
		t.Errorf("the aggregator was asked for %v", got)
	}
}

func TestErrorsSayWhoAndWhy(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	h.edit(func(s *script) { s.abstains = "less than two seasons" })
	h.provisioner.stop()
	json := map[string]string{"Content-Type": "application/json"}
	tests := map[string]struct {
		call
		code int
		says []string
	}{
		"abstains":         {call{method: "GET", path: "/api/v1/workloads/shop/forecast"}, 400, []string{`"code":9`, "less than two seasons", `"backend":"predictor"`}},
		"nothing yet":      {call{method: "GET", path: "/api/v1/workloads/shop/recommendation"}, 503, []string{`"code":14`, `"reason":"UNAVAILABLE"`, "RetryInfo", `"backend":"predictor"`}},
		"away":             {call{method: "GET", path: "/api/v1/workloads/shop/actions"}, 503, []string{`"reason":"UNAVAILABLE"`, `"backend":"provisioner"`}},
		"pause while away": {call{method: "POST", path: "/api/v1/workloads/shop/pause", body: `{"reason":"x"}`}, 503, []string{`"backend":"provisioner"`}},
		"missing time":     {call{method: "GET", path: "/api/v1/workloads/shop/windows"}, 400, []string{"BadRequest", `"field":"start_time"`, `"backend":"metrics-aggregator"`}},
		"unknown workload": {call{method: "GET", path: "/api/v1/workloads/nobody/events"}, 404, []string{`"code":5`, "nobody"}},
		"unknown path":     {call{method: "GET", path: "/api/v2/x"}, 404, []string{"/api/v2/x"}},
		"wrong method":     {call{method: "DELETE", path: "/api/v1/workloads/shop/actions", header: json}, 405, []string{"DELETE"}},
		"overridden":       {call{method: "POST", path: "/api/v1/workloads/shop/actions", header: map[string]string{"Content-Type": "application/json", "X-HTTP-Method-Override": "GET"}}, 405, []string{"POST"}},
		"bad environment":  {call{method: "GET", path: "/api/v1/workloads/shop/windows?environment=moon"}, 400, []string{`"code":3`, "environment", "moon"}},
		"bad time":         {call{method: "GET", path: "/api/v1/workloads/shop/windows?start_time=noon"}, 400, []string{"start_time", "noon"}},
		"bad number":       {call{method: "GET", path: "/api/v1/workloads/shop/forecast?horizon_seconds=soon"}, 400, []string{"horizon_seconds"}},
		"bad size":         {call{method: "GET", path: "/api/v1/workloads/shop/actions?page_size=many"}, 400, []string{"page_size"}},
		"unknown key":      {call{method: "GET", path: "/api/v1/workloads/shop/forecast?horizon=60"}, 400, []string{`"code":3`, "horizon"}},
		"bad boolean":      {call{method: "GET", path: "/api/v1/workloads/shop/windows?totals_only=perhaps"}, 400, []string{"totals_only"}},
		"pause, not JSON":  {call{method: "POST", path: "/api/v1/workloads/shop/pause", body: `{`}, 400, []string{`"code":3`}},
		"pause, unknown":   {call{method: "POST", path: "/api/v1/workloads/shop/pause", body: `{"raison":"x"}`}, 400, []string{"raison"}},
		"pause, huge":      {call{method: "POST", path: "/api/v1/workloads/shop/pause", body: `{"reason":"` + strings.Repeat("x", 20<<10) + `"}`}, 400, []string{"too large"}},
	}
	for name, tc := range tests {
		code, body, _ := h.do(t, tc.call)
		if code != tc.code {
			t.Errorf("%s: %d %s, want %d", name, code, body, tc.code)
		}
		body = bytes.ReplaceAll(body, []byte(": "), []byte(":")) // protojson puts a space there, or not
		for _, say := range tc.says {
			if !strings.Contains(string(body), strings.ReplaceAll(say, ": ", ":")) {
				t.Errorf("%s: %s does not say %q", name, body, say)
			}
		}
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	events := h.watch(t)
	if code, body, _ := h.do(t, call{method: "POST", path: "/api/v1/workloads/shop/pause", body: `{"reason":"audit","actor":"kim"}`}); code != http.StatusOK {
		t.Fatalf("pause = %d %s", code, body)
	}
	type answer struct {
		Status struct {
			Paused      bool
			PauseReason string `json:"pause_reason"`
			PauseActor  string `json:"pause_actor"`
		}
	}
	got := await(t, events, "provisioning", func(a answer) bool { return a.Status.Paused })
	if diff := cmp.Diff("audit kim", got.Status.PauseReason+" "+got.Status.PauseActor); diff != "" {
		t.Error(diff)
	}
	if code, body, _ := h.do(t, call{method: "POST", path: "/api/v1/workloads/shop/resume", body: `{}`}); code != http.StatusOK {
		t.Fatalf("resume = %d %s", code, body)
	}
	got = await(t, events, "provisioning", func(a answer) bool { return !a.Status.Paused })
	if got.Status.PauseActor != "" {
		t.Errorf("resumed by %q, want what was said: nothing", got.Status.PauseActor)
	}
}

func TestForeignPagesCannotPressTheButton(t *testing.T) {
	t.Parallel()
	h := startHouse(t, func(c *console.Config) { c.Hosts = []string{"console.example"} })
	own := strings.TrimPrefix(h.url, "http://")
	tests := map[string]struct {
		header map[string]string
		want   int
	}{
		"own page":             {map[string]string{"Origin": h.url, "Sec-Fetch-Site": "same-origin"}, 200},
		"no browser":           {nil, 200},
		"configured name":      {map[string]string{"Host": "console.example", "Origin": "http://console.example"}, 200},
		"localhost":            {map[string]string{"Host": "localhost:1"}, 200},
		"other origin":         {map[string]string{"Origin": "http://evil.example"}, 403},
		"cross-site":           {map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"form":                 {map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415},
		"text that is JSON":    {map[string]string{"Content-Type": "text/plain"}, 415},
		"rebound name":         {map[string]string{"Host": "evil.example", "Origin": "http://evil.example"}, 421},
		"name like an own":     {map[string]string{"Host": "127.0.0.1.evil.example"}, 421},
		"own address, by name": {map[string]string{"Host": own}, 200},
	}
	for name, tc := range tests {
		code, body, _ := h.do(t, call{method: "POST", path: "/api/v1/workloads/shop/pause", body: `{"reason":"x"}`, header: tc.header})
		if code != tc.want {
			t.Errorf("%s: %d %s, want %d", name, code, body, tc.want)
		}
	}
}

func TestPageIsServedUnderAStrictPolicy(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	code, body, header := h.do(t, call{method: "GET", path: "/"})
	if code != http.StatusOK || !strings.Contains(string(body), "<title>Foreshadow") {
		t.Errorf("page = %d %.100s", code, body)
	}
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers are lax: %v", header)
	}
	for path, want := range map[string]int{"/assets/": 404, "/nothing.js": 404, "/../doc.go": 404} {
		if code, _, _ := h.do(t, call{method: "GET", path: path}); code != want {
			t.Errorf("%s = %d, want %d", path, code, want)
		}
	}
}

func TestTheOpenAPIDocumentIsServedAndTrue(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	tell(h.script, time.Now())
	code, body, _ := h.do(t, call{method: "GET", path: "/openapi.json"})
	var document struct {
		Swagger string
		Paths   map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(body, &document); err != nil || code != http.StatusOK || document.Swagger != "2.0" || len(document.Paths) < 18 {
		t.Fatalf("%d, %v: %.100s", code, err, body)
	}
	// Whatever it names is there: the answer is a service's, not that there is no such path.
	for path, methods := range document.Paths {
		if strings.HasSuffix(path, "/watch") {
			continue // a stream has no end
		}
		for method, operation := range methods {
			c := call{method: strings.ToUpper(method), path: strings.NewReplacer("{workload}", shop, "{experiment_id}", "e1", "{recommendation_id}", "r1").Replace(path)}
			if method == "post" {
				c.body = "{}"
			}
			code, body, _ := h.do(t, c)
			if strings.Contains(string(body), "there is no") || code == http.StatusMethodNotAllowed {
				t.Errorf("%s %s (%s) = %d %s", method, path, operation.OperationID, code, body)
			}
		}
	}
}

func TestAWatchIsOneJSONObjectALine(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	tell(h.script, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/api/v1/workloads/shop/recommendation/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	var got struct {
		Result struct {
			Recommendation struct {
				Workload string
			}
		}
	}
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &got) != nil || got.Result.Recommendation.Workload != shop {
		t.Errorf("the first line is %s, %v", lines.Bytes(), lines.Err())
	}
}

func TestAuthorizationIsPassedOnAndNothingElse(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	code, body, _ := h.do(t, call{method: "POST", path: "/api/v1/workloads/shop/pause", body: `{"reason":"x"}`, header: map[string]string{
		"Authorization": "Bearer ann", "Grpc-Metadata-Actor": "eve", "X-Forwarded-For": "192.0.2.1",
	}})
	if code != http.StatusOK {
		t.Fatalf("pause = %d %s", code, body)
	}
	got := read(h.script, func(s *script) metadata.MD { return s.lastHeader })
	if auth := got.Get("authorization"); len(auth) != 1 || auth[0] != "Bearer ann" || len(got.Get("actor")) > 0 {
		t.Errorf("the provisioner was told %v", got)
	}
}
