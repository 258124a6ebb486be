package stratum_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/stratum"
)

func TestRoute(t *testing.T) {
	t.Parallel()
	routes := stratum.NewRoutes([]string{"/items/{id}/reviews", "/v1/{tenant}/users"}, 1000)
	for path, want := range map[string]string{
		"":                    "/",
		"/":                   "/",
		"//":                  "/",
		"/items":              "/items",
		"/items/":             "/items",
		"/items/42":           "/items/{id}",
		"/items//42":          "/items/{id}",
		"/items/abc/reviews":  "/items/{id}/reviews",
		"/v1/acme/users":      "/v1/{tenant}/users",
		"/v1/acme/orders":     "/v1/acme/orders",
		"/api/v2/getUserById": "/api/v2/getUserById",
		"/o/2024-11-05":       "/o/{id}",
		"/o/1.2.3":            "/o/{id}",
		"/o/6f1ed002-ab59-4c1d-9a3b-0d0f3a9d4c11": "/o/{id}",
		"/o/deadbeef12":                 "/o/{id}",
		"/o/facade":                     "/o/facade",
		"/o/red-shoes-4711":             "/o/{id}",
		"/o/about-us":                   "/o/about-us",
		"/o/bob@example.com":            "/o/{id}",
		"/o/a%20b":                      "/o/{id}",
		"/o/" + strings.Repeat("x", 32): "/o/{id}",
		"/a;jsessionid=1/b":             "/a/b",
		"/static/js/vendor/app.3f9.js":  "/static/js/{file}",
		"/assets/logo.PNG":              "/assets/{file}",
		"/favicon.ico":                  "/{file}",
		"/img/42/7/big.jpg":             "/img/{id}/{file}",
		"/a/b/c/d/e/f/g/h/i/j":          "/a/b/c/d/e/f/g/h/{rest}",
		"*":                             "/{id}",
	} {
		if got := routes.Route("GET", path); got != "GET "+want {
			t.Errorf("%q: %q, want %q", path, got, "GET "+want)
		}
	}
	if got := routes.Route("BREW", "/pot"); got != "OTHER /pot" {
		t.Errorf("unknown method: %q", got)
	}
}

func TestRoutesAreBounded(t *testing.T) {
	t.Parallel()
	const most = 10
	routes := stratum.NewRoutes(nil, most)
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 100 {
				route := routes.Route("GET", fmt.Sprintf("/%c%c/x", 'a'+i%26, 'a'+(worker+i)%26))
				mu.Lock()
				seen[route] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != most+1 || !seen[stratum.Other] {
		t.Errorf("%d routes, want %d and %q: %v", len(seen), most, stratum.Other, seen)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	const (
		iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
		windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36"
		ipad    = "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
		tablet  = "Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 Chrome/120.0 Safari/537.36"
		phone   = "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36"
		cubot   = "Mozilla/5.0 (Linux; Android 9; CUBOT X20) AppleWebKit/537.36 Chrome/80.0 Mobile Safari/537.36"
		google  = "Mozilla/5.0 (Linux; Android 6.0.1) Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
	)
	c := stratum.New(workload.Tap{MaxRoutes: 10, GeographyHeader: "x-country", NetworkHeader: "X-Network"})
	for name, tc := range map[string]struct {
		header                     map[string]string
		geography, device, network string
	}{
		"nothing known":     {nil, "unknown", "unknown", "unknown"},
		"phone":             {map[string]string{"User-Agent": iphone, "X-Country": " de ", "X-Network": "Cellular"}, "DE", "mobile", "cellular"},
		"desktop":           {map[string]string{"User-Agent": windows, "X-Country": "US"}, "US", "desktop", "unknown"},
		"hint beats agent":  {map[string]string{"User-Agent": windows, "Sec-CH-UA-Mobile": "?1"}, "unknown", "mobile", "unknown"},
		"hint no":           {map[string]string{"User-Agent": "odd", "Sec-CH-UA-Mobile": "?0"}, "unknown", "desktop", "unknown"},
		"tablet, not hint":  {map[string]string{"User-Agent": tablet, "Sec-CH-UA-Mobile": "?0"}, "unknown", "tablet", "unknown"},
		"ipad":              {map[string]string{"User-Agent": ipad}, "unknown", "tablet", "unknown"},
		"android phone":     {map[string]string{"User-Agent": phone}, "unknown", "mobile", "unknown"},
		"a maker named bot": {map[string]string{"User-Agent": cubot}, "unknown", "mobile", "unknown"},
		"crawler":           {map[string]string{"User-Agent": google, "Sec-CH-UA-Mobile": "?1"}, "unknown", "bot", "unknown"},
		"curl":              {map[string]string{"User-Agent": "curl/8.5.0"}, "unknown", "bot", "unknown"},
		"odd labels":        {map[string]string{"X-Country": "D\xffE", "X-Network": strings.Repeat("x", 17)}, "unknown", "unknown", "unknown"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/items/1", nil)
		for k, v := range tc.header {
			r.Header.Set(k, v)
		}
		want := traffic.Stratum{Route: "GET /items/{id}", Geography: tc.geography, Device: tc.device, Network: tc.network}
		if diff := cmp.Diff(want, c.Classify(r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// FuzzClassify: whatever a client sends, every part stays printable ASCII, short, and of bounded cardinality.
func FuzzClassify(f *testing.F) {
	f.Add("GET", "/items/42", "Mozilla/5.0 (iPhone)", "de")
	f.Add("BREW", "/\xff//..;a=b/%zz/x.js", "bot\x00", "\xff")
	c := stratum.New(workload.Tap{MaxRoutes: 5, Routes: []string{"/items/{id}"}, GeographyHeader: "X-Country", NetworkHeader: "X-Country"})
	seen := map[string]bool{}
	f.Fuzz(func(t *testing.T, method, path, agent, country string) {
		r := &http.Request{Method: method, Header: http.Header{"User-Agent": {agent}, "X-Country": {country}}}
		r.URL = httptest.NewRequest(http.MethodGet, "/", nil).URL
		r.URL.Path = path
		st := c.Classify(r)
		for _, part := range []string{st.Route, st.Geography, st.Device, st.Network} {
			if part == "" || len(part) > 400 || !utf8.ValidString(part) || strings.ContainsAny(part, "\x00\n\x7f") {
				t.Errorf("part %q of %+v", part, st)
			}
		}
		if seen[st.Route] = true; len(seen) > 6 {
			t.Errorf("%d routes", len(seen))
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	c := stratum.New(workload.Tap{MaxRoutes: 100, Routes: []string{"/items/{id}"}, GeographyHeader: "X-Country"})
	r := httptest.NewRequest(http.MethodGet, "/shop/category/42/items/red-shoes-4711", nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36")
	r.Header.Set("X-Country", "DE")
	b.ReportAllocs()
	for b.Loop() {
		c.Classify(r)
	}
}
