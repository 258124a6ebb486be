package stratum_test

import (
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

// bounds are a tap's defaults with the given number of routes.
func bounds(routes int, more func(*workload.Tap)) workload.Tap {
	tap := workload.Default().Tap
	tap.MaxRoutes = routes
	if more != nil {
		more(&tap)
	}
	return tap
}

func newClassifier(t testing.TB, tap workload.Tap) *stratum.Classifier {
	t.Helper()
	c, err := stratum.New(tap)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRoute(t *testing.T) {
	t.Parallel()
	routes := stratum.NewRoutes([]string{"/items/{id}/reviews", "/v1/{tenant}/users"}, 1000, 100)
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
		"/oauth2/authorize":   "/oauth2/authorize",
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
		// Secrets, which must not become a name.
		"/reset/hunter2":              "/reset/{id}",
		"/reset/AbCdEfGhIjKlMnOpQrSt": "/reset/{id}",
		"/reset/xkqzvwpt":             "/reset/{id}",
		"/reset/monkey":               "/reset/{id}",
		"/password/reset":             "/password/reset",
		"/reset/sEcReT":               "/reset/{id}",
		"/u/alice%2540example.com":    "/u/{id}",
	} {
		if got := routes.Route("GET", path, false); got != "GET "+want {
			t.Errorf("%q: %q, want %q", path, got, "GET "+want)
		}
	}
	if got := routes.Route("BREW", "/pot", false); got != "OTHER /pot" {
		t.Errorf("unknown method: %q", got)
	}
}

func TestRouteOfGRPC(t *testing.T) {
	t.Parallel()
	routes := stratum.NewRoutes(nil, 1000, 100)
	for path, want := range map[string]string{
		"/shop.v1.Cart/AddItem":                 "/shop.v1.Cart/AddItem",
		"/grpc.health.v1.Health/Check":          "/grpc.health.v1.Health/Check",
		"/shop.v1.Cart/9f86d081884c7d659a2feaa": "POST /{id}/{id}",
		"/shop.v1.Cart/a/b":                     "POST /{id}/a/b",
		"/xkqzvwptk.Cart/Add":                   "POST /{id}/Add",
		"/items":                                "POST /items",
	} {
		if got := routes.Route("POST", path, true); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// word makes distinct words without digits.
func word(i int) string {
	const consonants, vowels = "bdfgklmnprst", "aeiou"
	var b strings.Builder
	for range 4 {
		b.WriteByte(consonants[i%len(consonants)])
		i /= len(consonants)
		b.WriteByte(vowels[i%len(vowels)])
		i /= len(vowels)
	}
	return b.String()
}

func TestSlugsAreLearnt(t *testing.T) {
	t.Parallel()
	routes := stratum.NewRoutes(nil, 1000, 10)
	get := func(path string) string { return routes.Route("GET", path, false) }
	// A place of ever new words, beside two that many requests share.
	for i := range 400 {
		get("/blog/" + word(i))
		get("/blog/archive/latest")
		get("/blog/search")
	}
	for path, want := range map[string]string{
		"/blog/" + word(3): "GET /blog/{slug}", "/blog/neverseen": "GET /blog/{slug}", "/blog/neverseen/comments": "GET /blog/{slug}/comments",
		"/blog/archive/latest": "GET /blog/archive/latest", "/blog/search": "GET /blog/search", "/shop/neverseen": "GET /shop/neverseen",
	} {
		if got := get(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestSlugThatBecomesCommonIsAWord(t *testing.T) {
	t.Parallel()
	routes := stratum.NewRoutes(nil, 1000, 10)
	for i := range 1000 {
		routes.Route("GET", "/"+word(i), false)
	}
	got := ""
	for i := range 100 {
		routes.Route("GET", "/"+word(1000+i), false)
		got = routes.Route("GET", "/checkout", false)
	}
	if got != "GET /checkout" {
		t.Errorf("half of the requests of a place are one route %q", got)
	}
}

func TestLargeInterfaceIsNotTakenForSlugs(t *testing.T) {
	t.Parallel()
	routes := stratum.NewRoutes(nil, 1000, 10)
	for range 50 {
		for i := range 25 { // more than twice the bound, each used again and again
			routes.Route("GET", "/"+word(i), false)
		}
	}
	for i := range 25 {
		if got := routes.Route("GET", "/"+word(i), false); got != "GET /"+word(i) {
			t.Errorf("%q was taken for a value: %q", word(i), got)
		}
	}
}

func TestRoutesAreBounded(t *testing.T) {
	t.Parallel()
	const most = 10
	c := newClassifier(t, bounds(most, func(tap *workload.Tap) { tap.MaxWords = 10000 }))
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 100 {
				st := c.Classify(httptest.NewRequest(http.MethodGet, "/"+word(i+worker)+"/x", nil), "")
				mu.Lock()
				seen[st.Route]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	over, _ := c.Overflow()
	if len(seen) != most+1 || seen[stratum.Other] == 0 || int(over) != seen[stratum.Other] {
		t.Errorf("%d routes, want %d and %q; %d counted as over: %v", len(seen), most, stratum.Other, over, seen)
	}
}

func TestStrataAreBounded(t *testing.T) {
	t.Parallel()
	c := newClassifier(t, bounds(100, func(tap *workload.Tap) { tap.MaxStrata, tap.GeographyHeader = 20, "X-Country" }))
	seen := map[traffic.Stratum]uint64{}
	for i := range 100 {
		r := httptest.NewRequest(http.MethodGet, "/items/1", nil)
		r.Header.Set("X-Country", string([]byte{'A' + byte(i/26), 'A' + byte(i%26)}))
		seen[c.Classify(r, "")]++
	}
	_, over := c.Overflow()
	if len(seen) != 21 || seen[stratum.Rest] != 80 || over != 80 {
		t.Errorf("%d strata, %d in the rest, %d counted", len(seen), seen[stratum.Rest], over)
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
	c := newClassifier(t, bounds(10, func(tap *workload.Tap) { tap.GeographyHeader, tap.NetworkHeader = "x-country", "X-Network" }))
	for name, tc := range map[string]struct {
		header                     map[string]string
		geography, device, network string
	}{
		"nothing known":           {nil, "unknown", "unknown", "unknown"},
		"phone":                   {map[string]string{"User-Agent": iphone, "X-Country": " de ", "X-Network": "Cellular"}, "DE", "mobile", "cellular"},
		"desktop":                 {map[string]string{"User-Agent": windows, "X-Country": "US"}, "US", "desktop", "unknown"},
		"hint beats agent":        {map[string]string{"User-Agent": windows, "Sec-CH-UA-Mobile": "?1"}, "unknown", "mobile", "unknown"},
		"hint no":                 {map[string]string{"User-Agent": "odd", "Sec-CH-UA-Mobile": "?0"}, "unknown", "desktop", "unknown"},
		"tablet, not hint":        {map[string]string{"User-Agent": tablet, "Sec-CH-UA-Mobile": "?0"}, "unknown", "tablet", "unknown"},
		"ipad":                    {map[string]string{"User-Agent": ipad}, "unknown", "tablet", "unknown"},
		"android phone":           {map[string]string{"User-Agent": phone}, "unknown", "mobile", "unknown"},
		"a maker named bot":       {map[string]string{"User-Agent": cubot}, "unknown", "mobile", "unknown"},
		"crawler":                 {map[string]string{"User-Agent": google, "Sec-CH-UA-Mobile": "?1"}, "unknown", "bot", "unknown"},
		"curl":                    {map[string]string{"User-Agent": "curl/8.5.0"}, "unknown", "bot", "unknown"},
		"named network":           {map[string]string{"X-Network": "Cable/DSL"}, "unknown", "unknown", "wired"},
		"measured by the browser": {map[string]string{"Ect": "3g", "Rtt": "50"}, "unknown", "unknown", "3g"},
		"slow round trips":        {map[string]string{"Rtt": "1500", "Downlink": "9"}, "unknown", "unknown", "2g"},
		"slow downlink":           {map[string]string{"Rtt": "50", "Downlink": "0.5"}, "unknown", "unknown", "3g"},
		"fast":                    {map[string]string{"Downlink": "10"}, "unknown", "unknown", "4g"},
		"saves data":              {map[string]string{"Save-Data": "on"}, "unknown", "unknown", "save-data"},
		"header beats hint":       {map[string]string{"X-Network": "wifi", "Ect": "2g"}, "unknown", "unknown", "wifi"},
		"made up hints":           {map[string]string{"Ect": "secret", "Rtt": "-1", "Downlink": "x"}, "unknown", "unknown", "unknown"},
		"made up country":         {map[string]string{"X-Country": "secret"}, "unknown", "unknown", "unknown"},
		"gpt bot":                 {map[string]string{"User-Agent": "Mozilla/5.0 (compatible; GPTBot/1.0; +https://openai.com/gptbot)"}, "unknown", "bot", "unknown"},
		"odd labels":              {map[string]string{"X-Country": "D\xffE", "X-Network": strings.Repeat("x", 17)}, "unknown", "unknown", "unknown"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/items/1", nil)
		for k, v := range tc.header {
			r.Header.Set(k, v)
		}
		want := traffic.Stratum{Route: "GET /items/{id}", Geography: tc.geography, Device: tc.device, Network: tc.network}
		if diff := cmp.Diff(want, c.Classify(r, "")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// FuzzClassify: whatever a client sends, every part stays printable ASCII, short, and of bounded cardinality.
func FuzzClassify(f *testing.F) {
	f.Add("GET", "/items/42", "Mozilla/5.0 (iPhone)", "de")
	f.Add("BREW", "/\xff//..;a=b/%zz/x.js", "bot\x00", "\xff")
	c := newClassifier(f, bounds(5, func(tap *workload.Tap) {
		tap.Routes, tap.GeographyHeader, tap.NetworkHeader = []string{"/items/{id}"}, "X-Country", "X-Country"
	}))
	f.Fuzz(func(t *testing.T, method, path, agent, country string) {
		r := &http.Request{Method: method, Header: http.Header{"User-Agent": {agent}, "X-Country": {country}}}
		r.URL = httptest.NewRequest(http.MethodGet, "/", nil).URL
		r.URL.Path = path
		st := c.Classify(r, country)
		for _, part := range []string{st.Route, st.Geography, st.Device, st.Network} {
			if part == "" || len(part) > 400 || !utf8.ValidString(part) || strings.ContainsAny(part, "\x00\n\x7f") {
				t.Errorf("part %q of %+v", part, st)
			}
		}
		if c.Known() > 5 {
			t.Errorf("%d routes", c.Known())
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	c := newClassifier(b, bounds(100, func(tap *workload.Tap) { tap.Routes, tap.GeographyHeader = []string{"/items/{id}"}, "X-Country" }))
	r := httptest.NewRequest(http.MethodGet, "/shop/category/42/items/red-shoes-4711", nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36")
	r.Header.Set("X-Country", "DE")
	b.ReportAllocs()
	for b.Loop() {
		c.Classify(r, "192.0.2.1")
	}
}
