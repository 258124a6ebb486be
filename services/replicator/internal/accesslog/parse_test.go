package accesslog

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// read parses a line as far as the request and reports what it says, or the reason why it says nothing.
func read(t *testing.T, p parser, line string) (*entry, *http.Request, string) {
	t.Helper()
	e, err := p.parse([]byte(line))
	var r *http.Request
	if err == nil {
		r, err = e.request()
	}
	var reason refusal
	if err != nil && !errors.As(err, &reason) {
		t.Fatalf("%q: an error without a reason: %v", line, err)
	}
	return e, r, string(reason)
}

func TestFormats(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	type said struct {
		Method, Target, Host, Address, Agent, Cookie string
		Status                                       int
		Arrive                                       time.Time
		Latency                                      time.Duration
		Sent                                         int64
	}
	base := said{Method: "GET", Target: "/a?b=c", Address: "192.0.2.1:0", Status: 200, Arrive: noon, Latency: -1, Sent: 12}
	with := func(change func(*said)) said { s := base; change(&s); return s }
	agent := with(func(s *said) { s.Agent = "x (y)" })
	for name, c := range map[string]struct {
		format string
		fields map[string]string
		line   string
		want   said
	}{
		"common":   {Common, nil, `192.0.2.1 - bob [27/Nov/2026:13:00:00 +0100] "GET /a?b=c HTTP/1.1" 200 12`, base},
		"combined": {Combined, nil, `192.0.2.1 - - [27/Nov/2026:12:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 12 "-" "x (y)"`, agent},
		"escaped": {
			Combined, nil, `192.0.2.1 - - [27/Nov/2026:12:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 12 "-" "a \"b\" \x41\\ \q \x"`,
			with(func(s *said) { s.Agent = `a "b" A\ \q \x` }),
		},
		"nginx, all there is": {
			`$remote_addr [$time_iso8601] "$request" $status $body_bytes_sent $request_time "$http_user_agent" $host ${cookie_sid}|$pid`, nil,
			`192.0.2.1 [2026-11-27T12:00:00.250Z] "GET /a?b=c HTTP/2.0" 200 12 0.250 "x (y)" shop.example s1|7`,
			with(func(s *said) {
				s.Agent, s.Host, s.Cookie, s.Latency = "x (y)", "shop.example", "sid=s1", 250*time.Millisecond
			}),
		},
		"nginx, in parts": {
			`$msec $request_method $uri $args $status $bytes_sent`, nil, `1795780800.125 GET /a b=c 200 12`,
			with(func(s *said) { s.Address, s.Arrive = ":0", noon.Add(125*time.Millisecond) }),
		},
		"apache, in parts": {
			`%{msec}t %a %m "%U%%" "%q" %H %>s %B %D \"%{User-agent}i\" %V`, nil,
			`1795780800125 192.0.2.1 GET "/a%" "?b=c" HTTP/1.1 200 12 1500 "x (y)" shop.example`,
			with(func(s *said) {
				s.Arrive, s.Latency, s.Agent, s.Host = noon.Add(125*time.Millisecond), 1500*time.Microsecond, "x (y)", "shop.example"
			}),
		},
		"json, as nginx has it": {
			JSON, nil, `{"time_iso8601":"2026-11-27T12:00:00+00:00","remote_addr":"192.0.2.1","request":"GET /a?b=c HTTP/1.1","status":"200","body_bytes_sent":12}`, base,
		},
		"json, as Caddy has it": {
			JSON, nil, `{"level":"info","ts":1795780800.5,"request":{"remote_ip":"192.0.2.1","client_ip":"192.0.2.1","proto":"HTTP/2.0","method":"GET",` +
				`"host":"shop.example","uri":"/a?b=c","headers":{"User-Agent":["x (y)"]}},"duration":1.5e-3,"size":12,"status":200}`,
			with(func(s *said) {
				s.Arrive, s.Latency, s.Agent, s.Host = noon.Add(500*time.Millisecond-1500*time.Microsecond), 1500*time.Microsecond, "x (y)", "shop.example"
			}),
		},
		"json, by its own names": {
			JSON, map[string]string{"msec": "@t", "request_uri": "http.url", "request_method": "verb", "status": "code", "body_bytes_sent": "n", "remote_addr": "ip"},
			`{"@t":1795780800,"http":{"url":"/a?b=c"},"verb":"GET","code":200,"n":12,"ip":"192.0.2.1"}`, base,
		},
		"absolute target": {
			Common, nil, `192.0.2.1 - - [27/Nov/2026:12:00:00 +0000] "GET http://shop.example/a?b=c HTTP/1.1" 200 12`,
			with(func(s *said) { s.Host = "shop.example" }),
		},
	} {
		p, err := newParser(c.format, c.fields)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e, r, reason := read(t, p, c.line)
		if reason != "" {
			t.Errorf("%s: dropped as %s", name, reason)
			continue
		}
		got := said{
			Method: r.Method, Target: r.URL.RequestURI(), Host: r.Host, Address: r.RemoteAddr, Agent: r.UserAgent(), Cookie: r.Header.Get("Cookie"),
			Status: e.result().Status, Arrive: e.arrive().UTC(), Latency: e.latency, Sent: e.result().ResponseBytes,
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLinesThatAreNoRequests(t *testing.T) {
	t.Parallel()
	const when = `192.0.2.1 - - [27/Nov/2026:12:00:00 +0000] `
	p, err := newParser(Common, nil)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"nonsense":                                                 ReasonFormat,
		when + `"GET / HTTP/1.1" 200 1 more`:                       "", // the last field takes the rest, and bytes are no reason
		when + `"GET / HTTP/1.1 200 1`:                             ReasonFormat,
		when + `"-" 408 0`:                                         ReasonRequest,
		when + `"" 400 0`:                                          ReasonRequest,
		when + `"\x16\x03\x01\x02" 400 0`:                          ReasonRequest,
		when + `"GET /" 200 1`:                                     ReasonRequest,
		when + `"get / HTTP/1.1" 400 0`:                            ReasonRequest,
		when + `"G@T / HTTP/1.1" 400 0`:                            ReasonRequest,
		when + `"GET / HTTP/x" 400 0`:                              ReasonRequest,
		when + `"GET x/y HTTP/1.1" 400 0`:                          ReasonTarget,
		when + `"GET /%zz HTTP/1.1" 400 0`:                         ReasonTarget,
		when + `"GET /\x00 HTTP/1.1" 400 0`:                        ReasonTarget,
		when + `"GET / HTTP/1.1" twohundred 1`:                     ReasonStatus,
		when + `"GET / HTTP/1.1" 99 1`:                             ReasonStatus,
		`h - - [yesterday] "GET / HTTP/1.1" 200 1`:                 ReasonTime,
		`h - - [27/Nov/2026:12:00:00 +0000 "GET / HTTP/1.1" 200 1`: "", // the bracket tells nothing
	} {
		if _, _, got := read(t, p, line); got != want {
			t.Errorf("%q: dropped as %q, want %q", line, got, want)
		}
	}
	object, err := newParser(JSON, nil)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		`{`: ReasonFormat, `[]`: ReasonFormat, `null`: ReasonTime, `{} {}`: ReasonFormat, `{"msec":1,"status":200}`: ReasonFormat,
		`{"request":"GET / HTTP/1.1"}`: ReasonTime, `{"msec":"x","request":"GET / HTTP/1.1"}`: ReasonTime,
		`{"msec":-1,"request":"GET / HTTP/1.1"}`: ReasonTime, `{"msec":1e300,"request":"GET / HTTP/1.1"}`: ReasonTime,
		`{"msec":1,"request":"GET / HTTP/1.1","status":{}}`: "",
	} {
		if _, _, got := read(t, object, line); got != want {
			t.Errorf("%s: dropped as %q, want %q", line, got, want)
		}
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"":                  "format: has no time",
		"$time_local":       "format: has no request",
		"$time_local%r":     "format: nothing stands between two fields",
		"$":                 "format: want the name of a variable",
		"${msec $request":   "format: want a closing brace",
		"%t %{Referer":      "format: want a closing brace",
		"%t %r %":           "format: want a directive",
		"%{%H:%M}t %r":      "format: the time format",
		"$msec $request_id": "format: has no request",
	} {
		err := Config{Format: format, Speed: -1}.Validate()
		for _, part := range []string{want, "path: is missing", "speed: must be positive", "max_line_bytes: must be"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("format %q: %v, want %q", format, err, part)
			}
		}
	}
	if _, err := newParser(Combined, map[string]string{"msec": "t"}); err == nil {
		t.Error("fields of a text format are taken")
	}
	if _, err := newParser(JSON, map[string]string{"msec": ""}); err == nil {
		t.Error("an empty key is taken")
	}
}

func FuzzLine(f *testing.F) {
	f.Add(uint8(0), `192.0.2.1 - - [27/Nov/2026:12:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 12 "-" "x \"y\" \x41"`)
	f.Add(uint8(1), `{"ts":1795780800.5,"request":{"method":"GET","uri":"/a","headers":{"Cookie":["a"]}},"duration":1.5e-3,"status":200}`)
	f.Add(uint8(2), `1795780800.125|GET|/a|b=c|200|12|0.5|x`)
	f.Add(uint8(3), `1795780800125 192.0.2.1 GET /a ?b=c HTTP/1.1 200 12 1500`)
	var parsers []parser
	for _, format := range []string{
		Combined, JSON, `$msec|$request_method|$uri|$args|$status|$bytes_sent|$request_time|$http_x`, `%{msec}t %a %m %U %q %H %>s %B %D`,
	} {
		p, err := newParser(format, nil)
		if err != nil {
			f.Fatal(err)
		}
		parsers = append(parsers, p)
	}
	f.Fuzz(func(t *testing.T, which uint8, line string) {
		e, r, reason := read(t, parsers[int(which)%len(parsers)], line)
		if reason != "" {
			return
		}
		res := e.result()
		if r.URL == nil || r.Method == "" || e.at.IsZero() || res.ResponseBytes < 0 || res.Status < 0 || res.Latency < -1 {
			t.Errorf("%q: %+v %+v", line, r, res)
		}
	})
}

func FuzzFormat(f *testing.F) {
	f.Add(`$remote_addr - [$time_local] "$request" ${status}`, `h - [27/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200`)
	f.Add(`%h %l %t \"%r\" %>s %{X-Y}i %{us}T %%`, `h - [27/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 x 1 %`)
	f.Fuzz(func(t *testing.T, format, line string) {
		p, err := newParser(format, nil)
		if err == nil {
			read(t, p, line)
		}
	})
}
