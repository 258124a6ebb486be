package source

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// server speaks the part of Prometheus's API that is used: one series whose value is the hour of the day, with its limit
// of 11,000 points, and none between gapFrom and gapTo.
func server(t *testing.T, asked *int, gapFrom, gapTo time.Time) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked++
		number := func(name string) int64 {
			v, err := strconv.ParseInt(r.FormValue(name), 10, 64)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return v
		}
		from, to, step := number("start"), number("end"), number("step")
		if r.URL.Path != "/api/v1/query_range" || r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		if (to-from)/step > 11000 {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries."}`)
			return
		}
		var values []string
		for at := from; at <= to; at += step {
			now := time.Unix(at, 0)
			if now.Before(gapFrom) || !now.Before(gapTo) {
				values = append(values, fmt.Sprintf(`[%d,"%d"]`, at, now.UTC().Hour()))
			}
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[%s]}]}}`, strings.Join(values, ","))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestPrometheusIsReadInParts(t *testing.T) {
	t.Parallel()
	asked := 0
	gap := epoch.Add(25 * time.Hour)
	s := server(t, &asked, gap, gap.Add(time.Hour))
	p := Prometheus{
		URL: s.URL + "/", Query: "sum(rate(http_requests_total[1m]))", Start: epoch.Add(time.Second), End: epoch.Add(4 * 24 * time.Hour),
		Step: 15 * time.Second, Client: s.Client(),
	}
	got, err := p.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if asked != 3 || len(got.Values) != 4*5760-1 || !got.Start.Equal(epoch.Add(15*time.Second)) || got.Step != 15*time.Second {
		t.Fatalf("%d requests, %d points from %s every %s", asked, len(got.Values), got.Start, got.Step)
	}
	for i, v := range got.Values {
		at := got.Time(i)
		if missing := !at.Before(gap) && at.Before(gap.Add(time.Hour)); missing != math.IsNaN(v) || !missing && v != float64(at.Hour()) {
			t.Fatalf("%s: %g", at, v)
		}
	}
}

func TestWhatWasNeverMeasuredIsNoDemand(t *testing.T) {
	t.Parallel()
	first, last := epoch.Add(30*24*time.Hour), epoch.Add(40*24*time.Hour)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseInt(r.FormValue("start"), 10, 64)
		if err != nil || from > first.Unix() {
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
			return
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[%d,"NaN"],[%d,"7"],[%d,"8"],[%d,"+Inf"]]}]}}`,
			first.Add(-time.Hour).Unix(), first.Unix(), last.Unix(), last.Add(time.Hour).Unix())
	}))
	t.Cleanup(s.Close)
	p := Prometheus{URL: s.URL, Query: "up", Start: epoch, End: epoch.Add(60 * 24 * time.Hour), Step: time.Hour}
	got, err := p.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Values); !got.Start.Equal(first) || n != 10*24+1 || got.Values[0] != 7 || got.Values[n-1] != 8 || !math.IsNaN(got.Values[1]) {
		t.Errorf("%d points from %s, want those from %s to %s", n, got.Start, first, last)
	}
}

func TestPrometheusSaysWhatToDoAboutAnAnswer(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]string{
		http.StatusUnauthorized: "user:password@host", http.StatusForbidden: "user:password@host",
		http.StatusNotFound: "there is no /api/v1/query_range below this address", http.StatusBadGateway: "502 Bad Gateway is not that of a Prometheus",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", code) }))
		p := query(strings.Replace(s.URL, "http://", "http://ops:hunter2@", 1))
		_, err := p.Read(context.Background())
		s.Close()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%d: error %v, want one about %q and no password", code, err, want)
		}
	}
}

func TestPrometheusIsToldWhoAsks(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer a:b" || r.Header.Get("X-Scope-OrgID") != "shop" ||
			r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("asked with %v", r.Header)
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[%d,"7"]]}]}}`, epoch.Unix())
	}))
	t.Cleanup(s.Close)
	p := query(s.URL)
	p.Headers = []string{"Authorization: Bearer a:b", "x-scope-orgid:shop"}
	if _, err := p.Read(context.Background()); err != nil {
		t.Error(err)
	}
	for header, want := range map[string]string{
		"hunter2": "header 1: want Name: value", "X Y: hunter2": "header 1: want Name: value", "A:": "header A: want a value",
		"A: hunter2\r\nB: c": "header A: want a value of one line",
	} {
		p.Headers = []string{header}
		if _, err := p.Read(context.Background()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want one about %q and no secret", err, want)
		}
	}
}

func TestPrometheusThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	p := query(s.URL)
	p.Client = &http.Client{Timeout: 50 * time.Millisecond}
	if _, err := p.Read(context.Background()); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("error %v", err)
	}
}

func TestPrometheusErrorsAreClear(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"a syntax error":    `{"status":"error","errorType":"bad_data","error":"1:5: parse error: unexpected end of input"}`,
		"something else":    `<html>hello</html>`,
		"another JSON":      `{"hello":1}`,
		"a vector":          `{"status":"success","data":{"resultType":"vector","result":[]}}`,
		"many series":       `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[]},{"metric":{"a":"2"},"values":[]}]}}`,
		"nothing":           `{"status":"success","data":{"resultType":"matrix","result":[]}}`,
		"values of no kind": `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"abc"]]}]}}`,
	}
	wants := map[string]string{
		"a syntax error": "bad_data: 1:5: parse error", "something else": "is not that of a Prometheus", "another JSON": "is not that of a Prometheus",
		"a vector": `"vector", want a matrix`, "many series": "2 series, want one: sum() them", "nothing": "yields nothing between 2026-03-02T00:00:00Z",
		"values of no kind": `value "abc": want a number`,
	}
	for name, body := range answers {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		_, err := query(s.URL).Read(context.Background())
		s.Close()
		if err == nil || !strings.Contains(err.Error(), wants[name]) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line about %q", name, err, wants[name])
		}
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if _, err := query(gone.URL).Read(context.Background()); err == nil || !strings.Contains(err.Error(), "query "+gone.URL+": ") ||
		!strings.Contains(err.Error(), "connection refused") || strings.Count(err.Error(), gone.URL) != 1 {
		t.Errorf("an unreachable server: %v", err)
	}
}

func query(url string) Prometheus {
	return Prometheus{URL: url, Query: "up", Start: epoch, End: epoch.Add(time.Hour), Step: time.Minute}
}

func TestPrometheusRefuses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Prometheus){
		"want an address": func(p *Prometheus) { p.URL = "127.0.0.1:9090" },
		"prometheus \"http://127.0.0.1:1/graph?g0=1\": want an address": func(p *Prometheus) { p.URL += "/graph?g0=1" },
		"query is empty":        func(p *Prometheus) { p.Query = " " },
		"step 1.5s":             func(p *Prometheus) { p.Step = 1500 * time.Millisecond },
		"holds no step":         func(p *Prometheus) { p.End = p.Start },
		"more than 5000000":     func(p *Prometheus) { p.End, p.Step = p.Start.AddDate(20, 0, 0), time.Second },
		"range of 2562047h47m1": func(p *Prometheus) { p.End = p.Start.AddDate(2000, 0, 0) },
	} {
		p := query("http://127.0.0.1:1")
		change(&p)
		if _, err := p.Read(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}

func FuzzParseMatrix(f *testing.F) {
	f.Add([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1435781430.781,"1"],[1435781445.781,"NaN"]]}]}}`))
	f.Add([]byte(`{"status":"error","errorType":"bad_data","error":"x"}`))
	f.Add([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1e300,"+Inf"]]}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseMatrix("200 OK", body)
		if err != nil && got != nil {
			t.Error("both a result and an error")
		}
		for _, v := range got {
			if math.IsInf(v.value, 0) {
				t.Errorf("%v is not a measurement", v)
			}
		}
	})
}
