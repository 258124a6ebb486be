package replicator_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator"
)

// do sends a request and reads the whole answer.
func do(t testing.TB, client *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return resp.StatusCode, string(body)
}

func request(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestCopyOfARequestIsWholeAndRedacted(t *testing.T) {
	t.Parallel()
	r := start(t, options{workload: func(w *workload.Workload) {
		w.Tap.GeographyHeader, w.Tap.NetworkHeader = "X-Country", "X-Network"
		w.Tap.SampleRatio = 0.999999
	}})
	r.use(serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "four") }))
	req := request(t, http.MethodGet, r.url+"/items/42?q=blue&q=blue&empty=", "")
	req.Host = "shop.example"
	for k, v := range map[string]string{
		"Cookie": "sid=alice", "User-Agent": "Mozilla/5.0 (iPhone)", "X-Country": "de", "X-Network": "WiFi", "Accept": "text/html",
		"Authorization": "Bearer x", "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		req.Header.Set(k, v)
	}
	before := time.Now()
	if code, body := do(t, r.client, req); code != 200 || body != "four" {
		t.Fatalf("got %d %q", code, body)
	}
	r.stop()
	records := r.records(kafka.TopicTrafficCaptured)
	if len(records) != 1 {
		t.Fatalf("%d copies, want 1", len(records))
	}
	sampler := traffic.NewSampler("key")
	session, blue := sampler.Pseudonym("session", "cookie\x00alice"), sampler.Pseudonym("query", "blue")
	if got, want := records[0].Key, "shop/"+session; got != want {
		t.Errorf("key %q, want %q", got, want)
	}
	if got := records[0].Meta.Traceparent; got != req.Header.Get("Traceparent") {
		t.Errorf("traceparent %q", got)
	}
	got := decode(t, records, func() *foreshadowv1.CapturedRequest { return &foreshadowv1.CapturedRequest{} })[0]
	want := &foreshadowv1.CapturedRequest{
		Workload: "shop", Session: session, Method: "GET", Target: "/items/42?q=" + blue + "&q=" + blue + "&empty=",
		Host: "shop.example", Protocol: "HTTP/1.1",
		Headers: []*foreshadowv1.Header{
			{Name: "Accept", Value: "text/html"}, {Name: "Accept-Encoding", Value: "gzip"}, {Name: "User-Agent", Value: "Mozilla/5.0 (iPhone)"},
		},
		BodyDisposition: foreshadowv1.BodyDisposition_BODY_DISPOSITION_NONE,
		Stratum:         &foreshadowv1.Stratum{Route: "GET /items/{id}", Geography: "DE", Device: "mobile", Network: "wifi"},
		Weight:          1 / 0.999999, ResponseStatus: 200, ResponseSizeBytes: 4, ResponseContentType: "text/plain", ResponseShapeReason: "type",
		ClientNetwork: "127.0.0.0/24",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform(),
		protocmp.IgnoreFields(&foreshadowv1.CapturedRequest{}, "arrive_time", "response_latency_seconds")); diff != "" {
		t.Errorf("copy differs (-want +got):\n%s", diff)
	}
	if at := got.GetArriveTime().AsTime(); at.Before(before) || at.After(time.Now()) || got.GetResponseLatencySeconds() <= 0 {
		t.Errorf("arrived at %v and took %v s", at, got.GetResponseLatencySeconds())
	}
}

func TestObservationsSumToWhatWasSent(t *testing.T) {
	t.Parallel()
	r := start(t, options{workload: func(w *workload.Workload) { w.Tap.SampleRatio = 0.5 }})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	const workers, each = 8, 60
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				method, path := http.MethodGet, "/items/"+fmt.Sprint(i)
				switch i % 3 {
				case 1:
					method = http.MethodPost
				case 2:
					path = "/broken"
				}
				req := request(t, method, r.url+path, "")
				req.Header.Set("Cookie", fmt.Sprintf("sid=%d-%d", worker, i))
				do(t, r.client, req)
				if l := r.ledger("replicator/tap"); !l.Balanced() {
					t.Errorf("unbalanced in between: %+v", l)
				}
			}
		})
	}
	wg.Wait()
	loop := request(t, http.MethodGet, r.url+"/items/1", "")
	loop.Header.Set(traffic.ShadowHeader, "shop")
	if code, _ := do(t, r.client, loop); code != http.StatusLoopDetected {
		t.Errorf("a shadow request got %d", code)
	}

	list, sum := r.observed()
	got := map[string][4]uint64{}
	for st, c := range sum {
		got[st.Route] = [4]uint64{c.Requests, c.Responses, c.Errors, c.Latency.Count()}
	}
	const third = workers * each / 3
	want := map[string][4]uint64{
		"GET /items/{id}": {third, third, 0, third}, "POST /items/{id}": {third, third, 0, third},
		"GET /broken": {third, third, third, third}, "loop": {1, 1, 0, 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("observed differs from sent (-sent +observed):\n%s", diff)
	}
	l := r.ledger("replicator/tap")
	if !l.Balanced() || l.Pending != 0 || l.Seen != sum.Total().Requests || l.Passed != sum.Total().Sampled ||
		l.Dropped["loop"] != 1 || l.Dropped["method"] != third || l.Dropped["sampled_out"] == 0 || l.Passed == 0 {
		t.Errorf("ledger %+v, observed %+v", l, sum.Total())
	}
	if copies := r.records(kafka.TopicTrafficCaptured); uint64(len(copies)) != l.Passed {
		t.Errorf("%d copies in the topic, the ledger says %d", len(copies), l.Passed)
	}
	o := r.ledger("replicator/observations")
	if !o.Balanced() || o.Pending != 0 || int(o.Passed) != len(list) {
		t.Errorf("ledger %+v, %d observations in the topic", o, len(list))
	}
}

func TestObservationsSayHowWellTheCopiesShowProduction(t *testing.T) {
	t.Parallel()
	r := start(t, options{workload: func(w *workload.Workload) {
		w.Tap.SampleRatio, w.Tap.Sampling.Interval, w.Tap.Sampling.Span = 0.5, time.Second, 2*time.Second
	}})
	r.use(serve(t, func(http.ResponseWriter, *http.Request) {}))
	deadline := time.After(30 * time.Second)
	for i := 0; !strings.Contains(r.metrics(), "foreshadow_replicator_sample_mix_half_width_ratio 0."); i++ {
		select {
		case <-deadline:
			t.Fatal("no figure of the sample")
		default:
		}
		req := request(t, http.MethodGet, r.url+[]string{"/a", "/b"}[i%2], "")
		req.Header.Set("Cookie", fmt.Sprintf("sid=%d", i))
		do(t, r.client, req)
	}
	do(t, r.client, request(t, http.MethodGet, r.url+"/a", ""))
	list, _ := r.observed()
	var known metric.Confidence
	for _, m := range list {
		c, err := metric.ConfidenceFromProto(m.GetConfidence())
		if err != nil {
			t.Fatal(err)
		}
		known.Merge(c)
	}
	if known.Responses == 0 || known.Mix() <= 0 || known.Mix() > 1 || known.Span != 2 || known.DesignEffect() < 1 {
		t.Errorf("observed %+v", known)
	}
}

func TestSilenceIsObserved(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	deadline := time.After(20 * time.Second)
	for r.ledger(replicator.ObservationsHop).Passed < 2 {
		select {
		case <-deadline:
			t.Fatal("no observations without traffic")
		case <-time.After(20 * time.Millisecond):
		}
	}
	list, _ := r.observed()
	for i, m := range list {
		start := m.GetStartTime().AsTime()
		if m.GetWorkload() != "shop" || m.GetSource() != "replicator" || m.GetDurationSeconds() != 1 || len(m.GetTraffic()) != 0 ||
			m.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_PRODUCTION || !start.Equal(start.Truncate(time.Second)) {
			t.Errorf("observation %d: %v", i, m)
		}
		if i > 0 && start.Sub(list[i-1].GetStartTime().AsTime()) != time.Second {
			t.Errorf("observation %d starts at %v, the one before at %v", i, start, list[i-1].GetStartTime().AsTime())
		}
	}
}

func TestDeadBrokerChangesNothingForUsers(t *testing.T) {
	t.Parallel()
	r := start(t, options{broker: "127.0.0.1:1", config: func(c *replicator.Config) { c.QueueBytes = 1 << 20 }})
	r.use(serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	// Each copy takes some 700 bytes of the queue.
	const n = 3000
	for i := range n {
		req := request(t, http.MethodGet, r.url+"/", "")
		req.Header.Set("User-Agent", strings.Repeat("x", 500))
		if code, body := do(t, r.client, req); code != 200 || body != "ok" {
			t.Fatalf("request %d: %d %q", i, code, body)
		}
	}
	l := r.ledger("replicator/tap")
	if !l.Balanced() || l.Seen != n || l.Dropped[kafka.ReasonQueueFull] == 0 || l.Pending == 0 {
		t.Errorf("ledger %+v", l)
	}
	r.stop()
	l = r.ledger("replicator/tap")
	if !l.Balanced() || l.Pending != 0 || l.Dropped[kafka.ReasonShutdown] == 0 {
		t.Errorf("ledger after the end %+v", l)
	}
}

// TestNothingSecretLeaves plants secrets where requests and responses have them and looks for them in every byte published.
func TestNothingSecretLeaves(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	r := start(t, options{
		log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		workload: func(w *workload.Workload) {
			w.Tap.Methods = []string{"GET", "POST"}
			w.Tap.RedactQuery = []string{"password"}
			w.Tap.AllowHeaders = append(w.Tap.AllowHeaders, "Referer", "Cookie", "X-Auth-Token")
		},
	})
	r.use(serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "sid=SECRETsetcookie")
		_, _ = io.WriteString(w, "SECRETresponse")
	}))
	const (
		mail  = "alice.SECRET@example.com"
		token = "SECRETa8Fk2Lq9Zx7Wv3Tb"
		card  = "4111111111111111"
	)
	targets := []string{
		"/u/" + mail + "/x", "/reset/" + token, "/pay/" + card, "/a;jsessionid=SECRETjsession/b", "/q?password=SECRETpw&PassWord=SECRETpw",
		"/q?plain=" + mail, "/q?plain=" + token, "/q?" + token, "/q?" + token + "=1", "/q?api_token=SECRETt", "/q?x=%2B491701234567",
		"/u/alice.SECRET%40example.com", "/q?bad=%zzSECRET", "/call/+491701234567",
	}
	for _, target := range targets {
		req := request(t, http.MethodGet, r.url+"/", "")
		// Set after parsing: some targets are refused by url.Parse and not by net/http's server.
		req.URL.Opaque = target
		for _, h := range []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "X-Auth-Token", "X-Whatever"} {
			req.Header.Set(h, "SECRETheader")
		}
		req.Header.Set("Cookie", "sid=SECRETsession; other=SECRETcookie")
		req.Header.Set("Referer", "https://user:SECRETpw@example.com/reset/"+token+"?password=SECRETpw")
		do(t, r.client, req)
	}
	for contentType, body := range map[string]string{
		"application/x-www-form-urlencoded": "password=SECRETpw&mail=" + mail + "&ok=1",
		"application/json":                  `{"password":"SECRETpw"}`, "text/plain": "SECRETplain", "": "SECRETnone",
		"multipart/form-data; boundary=x": "--x\r\n\r\nSECRETpart\r\n--x--",
	} {
		req := request(t, http.MethodPost, r.url+"/login", body)
		req.Header.Set("Content-Type", contentType)
		do(t, r.client, req)
	}
	r.stop()
	copies := r.records(kafka.TopicTrafficCaptured)
	if want := len(targets) + 5; len(copies) != want {
		t.Errorf("%d copies, want %d", len(copies), want)
	}
	published := slices.Concat(copies, r.records(kafka.TopicMetricsObserved))
	for _, rec := range published {
		all := fmt.Sprint(rec.Key, " ", rec.Meta, " ", string(rec.Value))
		for _, secret := range []string{"SECRET", card, "491701234567"} {
			if strings.Contains(all, secret) {
				t.Errorf("%s holds %s: %q", rec.Topic, secret, all)
			}
		}
	}
	if strings.Contains(log.String(), "SECRET") {
		t.Errorf("the log holds a secret: %s", log.String())
	}
}

func TestBodyPolicy(t *testing.T) {
	t.Parallel()
	r := start(t, options{
		workload: func(w *workload.Workload) {
			w.Tap.MaxBodyBytes = 100
			w.Tap.RedactJSON = []string{"user.email"}
			post := []string{"POST"}
			w.Tap.Rules = []workload.Rule{
				{Route: "/hash", Methods: post, Body: workload.BodyHash}, {Route: "/none", Methods: post, Body: workload.BodyNone},
				{Route: "/prefix/{id}", Methods: post, Body: workload.BodyPrefix, BodyPrefixBytes: 9},
				{Route: "/kept/**", Methods: post},
			}
		},
		config: func(c *replicator.Config) { c.KeepBodies = append(c.KeepBodies, "text/plain") },
	})
	r.use(serve(t, func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(io.Discard, req.Body) }))
	post := func(path, contentType, body string) {
		req := request(t, http.MethodPost, r.url+path, body)
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Cookie", "sid=one")
		do(t, r.client, req)
	}
	large := strings.Repeat("x ", 51)
	post("/kept/plain", "text/plain; charset=utf-8", "hello")
	post("/kept/form", "application/x-www-form-urlencoded", "a=1&b=2")
	post("/kept/json", "application/vnd.shop+json", `{"user":{"email":"a","name":"b"}}`)
	post("/kept/broken", "application/json", `{"user":`)
	post("/kept/large", "text/plain", large)
	post("/kept/other", "application/octet-stream", "bytes")
	post("/hash", "application/octet-stream", "bytes")
	post("/none", "text/plain", "hello")
	post("/prefix/1", "text/plain", "hello to the world")
	post("/prefix/2", "text/plain", "hello")
	post("/elsewhere", "text/plain", "hello") // no rule allows it

	got := map[string]*foreshadowv1.CapturedRequest{}
	for _, c := range r.captured() {
		got[c.GetTarget()] = &foreshadowv1.CapturedRequest{
			BodyDisposition: c.GetBodyDisposition(), Body: c.GetBody(), BodySizeBytes: c.GetBodySizeBytes(), BodySha256: c.GetBodySha256(),
			BodyOversize: c.GetBodyOversize(),
		}
	}
	s := traffic.NewSampler("key")
	hash := func(body string) []byte {
		h := s.Digest()
		_, _ = io.WriteString(h, body)
		return h.Sum(nil)
	}
	const (
		full   = foreshadowv1.BodyDisposition_BODY_DISPOSITION_FULL
		hashed = foreshadowv1.BodyDisposition_BODY_DISPOSITION_HASH
		none   = foreshadowv1.BodyDisposition_BODY_DISPOSITION_NONE
		prefix = foreshadowv1.BodyDisposition_BODY_DISPOSITION_PREFIX
	)
	want := map[string]*foreshadowv1.CapturedRequest{
		"/kept/plain": {BodyDisposition: full, Body: []byte("hello"), BodySizeBytes: 5},
		"/kept/form": {
			BodyDisposition: full, BodySizeBytes: 7, Body: []byte("a=" + s.Pseudonym("query", "1") + "&b=" + s.Pseudonym("query", "2")),
		},
		"/kept/json": {
			BodyDisposition: full, BodySizeBytes: 33, Body: []byte(`{"user":{"email":"` + s.Pseudonym("text", "a") + `","name":"b"}}`),
		},
		"/kept/broken": {BodyDisposition: hashed, BodySizeBytes: 8, BodySha256: hash(`{"user":`)},
		"/kept/large":  {BodyDisposition: hashed, BodySizeBytes: 102, BodySha256: hash(large), BodyOversize: true},
		"/kept/other":  {BodyDisposition: none, BodySizeBytes: 5},
		"/hash":        {BodyDisposition: hashed, BodySizeBytes: 5, BodySha256: hash("bytes")},
		"/none":        {BodyDisposition: none, BodySizeBytes: 5},
		"/prefix/1":    {BodyDisposition: prefix, BodySizeBytes: 18, Body: []byte("hello to")},
		"/prefix/2":    {BodyDisposition: full, BodySizeBytes: 5, Body: []byte("hello")},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
	if l := r.ledger("replicator/tap"); l.Dropped["method"] != 1 || !l.Balanced() {
		t.Errorf("ledger %+v, want one request left out for its method", l)
	}
}

func TestSampleIsStickyAndNested(t *testing.T) {
	t.Parallel()
	sessions := map[float64]map[string]int{}
	for _, ratio := range []float64{0.2, 0.5} {
		r := start(t, options{workload: func(w *workload.Workload) { w.Tap.SampleRatio = ratio }})
		r.use(serve(t, func(http.ResponseWriter, *http.Request) {}))
		for i := range 60 {
			for range 3 {
				req := request(t, http.MethodGet, r.url+"/", "")
				req.Header.Set("Cookie", fmt.Sprintf("sid=s%d", i))
				do(t, r.client, req)
			}
		}
		sessions[ratio] = map[string]int{}
		for _, c := range r.captured() {
			sessions[ratio][c.GetSession()]++
			if c.GetWeight() != 1/ratio {
				t.Errorf("weight %v at ratio %v", c.GetWeight(), ratio)
			}
		}
	}
	for ratio, counts := range sessions {
		for session, n := range counts {
			if n != 3 {
				t.Errorf("ratio %v: %d of 3 requests of session %s", ratio, n, session)
			}
		}
	}
	for session := range sessions[0.2] {
		if sessions[0.5][session] == 0 {
			t.Errorf("session %s is in the smaller sample alone", session)
		}
	}
	if a, b := len(sessions[0.2]), len(sessions[0.5]); a == 0 || b <= a || b == 60 {
		t.Errorf("%d and %d sessions of 60", a, b)
	}
}

func TestSLOViolations(t *testing.T) {
	t.Parallel()
	r := start(t, options{workload: func(w *workload.Workload) { w.SLO.Latency = time.Nanosecond }})
	r.use(serve(t, func(http.ResponseWriter, *http.Request) {}))
	do(t, r.client, request(t, http.MethodGet, r.url+"/", ""))
	_, sum := r.observed()
	if got := sum.Total(); got.SLOViolations != 1 || got.Errors != 0 || got.RequestBytes == 0 || got.ResponseBytes == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	if err := replicator.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := replicator.Config{Listen: "x", MaxWaiting: -1}.Validate()
	for _, key := range []string{"listen", "admin", "queue_bytes", "observation_queue_bytes", "header_timeout", "idle_timeout",
		"connect_timeout", "drain_timeout", "wait_ready", "max_header_bytes", "cpu_budget", "capture.mode"} {
		if err == nil || !strings.Contains(err.Error(), "replicator."+key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	two := []workload.Workload{{Name: "a"}, {Name: "b"}}
	for _, c := range []struct{ name, want string }{{"", "replicator.workload: is missing"}, {"c", `no workload is named "c"`}} {
		cfg := replicator.DefaultConfig()
		cfg.Workload = c.name
		if _, err := replicator.New(cfg, replicator.Deps{Workloads: two, Kafka: kafka.Default()}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("workload %q: %v", c.name, err)
		}
	}
}
