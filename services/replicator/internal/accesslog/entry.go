package accesslog

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// Reasons for which a line is not a request. They are ledger labels.
const (
	ReasonEmpty   = "empty"        // nothing but blanks
	ReasonTooLong = "too_long"     // beyond max_line_bytes
	ReasonFormat  = "format"       // not what the format says
	ReasonTime    = "time"         // the time cannot be read
	ReasonRequest = "request_line" // what the client sent was no HTTP request
	ReasonTarget  = "target"       // the target is no URL
	ReasonStatus  = "status"       // the status is none
	// ReasonShutdown: the replicator ended before the request was due.
	ReasonShutdown = "shutdown"
)

// refusal is a reason as an error.
type refusal string

func (r refusal) Error() string { return "line dropped: " + string(r) }

// statusClientClosed is nginx's status of a request whose client went away.
const statusClientClosed = 499

// entry is one line of a log.
type entry struct {
	at time.Time
	// whole: the time is in whole seconds.
	whole bool
	// atEnd: the time is that of the end of the request, as nginx has it; Apache's is that of its beginning.
	atEnd     bool
	address   string
	method    string
	target    string
	path      string
	query     string
	protocol  string
	host      string
	header    http.Header
	status    int
	sent      int64 // bytes of the response, with its head when allSent
	body      int64 // bytes of its body
	received  int64 // bytes of the request
	latency   time.Duration
	hasStatus bool
}

func newEntry() *entry { return &entry{header: http.Header{}, latency: -1} }

// arrive is when the request began.
func (e *entry) arrive() time.Time {
	if e.atEnd && e.latency > 0 {
		return e.at.Add(-e.latency)
	}
	return e.at
}

// request makes the request that the line is about.
func (e *entry) request() (*http.Request, error) {
	if e.target == "" && e.path != "" {
		e.target = e.path
		if e.query != "" && e.query != "-" {
			e.target += "?" + e.query
		}
	}
	if !httpguts.ValidHeaderFieldName(e.method) || e.method != strings.ToUpper(e.method) {
		return nil, refusal(ReasonRequest)
	}
	u, err := url.ParseRequestURI(e.target)
	if err != nil || e.target == "" {
		return nil, refusal(ReasonTarget)
	}
	if e.host == "" {
		e.host = u.Host
	}
	u.Scheme, u.Host, u.User = "", "", nil // of a target in absolute form, as a server sees it
	r := &http.Request{
		Method: e.method, URL: u, RequestURI: e.target, Host: e.host, Proto: e.protocol, Header: e.header, Body: http.NoBody,
		RemoteAddr: net.JoinHostPort(e.address, "0"),
	}
	if r.Proto == "" {
		r.Proto = "HTTP/1.1"
	}
	r.ProtoMajor, r.ProtoMinor, _ = http.ParseHTTPVersion(r.Proto)
	return r, nil
}

// result is how the request ended.
func (e *entry) result() tap.Result {
	res := tap.Result{
		Status: e.status, Blind: !e.hasStatus, Failed: e.status >= http.StatusInternalServerError, Latency: e.latency,
		RequestBytes: e.received, ResponseBytes: max(e.sent, e.body), ResponseBodyBytes: e.body,
		// A log holds no bodies, so that a copy of a request that had one would be another request.
		BodyRead: e.method == http.MethodGet || e.method == http.MethodHead || e.method == http.MethodOptions,
		Upgraded: e.status == http.StatusSwitchingProtocols,
	}
	if e.status == statusClientClosed {
		res.Status, res.Aborted = 0, true
	}
	return res
}

// setRequest reads a request line. Servers log what they could not read as a dash or as escaped bytes.
func (e *entry) setRequest(line string) error {
	method, rest, ok := strings.Cut(line, " ")
	if !ok {
		return refusal(ReasonRequest)
	}
	// A target may hold blanks where the server let them pass; the protocol never does.
	last := strings.LastIndexByte(rest, ' ')
	if last < 0 || !strings.HasPrefix(rest[last+1:], "HTTP/") {
		return refusal(ReasonRequest)
	}
	e.method, e.target, e.protocol = method, rest[:last], rest[last+1:]
	if _, _, ok := http.ParseHTTPVersion(e.protocol); !ok && e.protocol != "HTTP/2" && e.protocol != "HTTP/3" {
		return refusal(ReasonRequest)
	}
	return nil
}

func (e *entry) setStatus(value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n != 0 && (n < 100 || n > 999) {
		return refusal(ReasonStatus)
	}
	e.status, e.hasStatus = n, n != 0
	return nil
}

func (e *entry) setHeader(name, value string) {
	if value == "-" || value == "" || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return
	}
	if strings.EqualFold(name, "Host") {
		e.host = value
		return
	}
	e.header.Add(name, value)
}

// setTime reads the server's own form, ISO 8601, or seconds since 1970 with or without a fraction.
func (e *entry) setTime(value string) error {
	value = strings.TrimSuffix(strings.TrimPrefix(value, "["), "]")
	for _, layout := range []string{"02/Jan/2006:15:04:05 -0700", time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700"} {
		if at, err := time.Parse(layout, value); err == nil {
			e.at, e.whole = at, at.Nanosecond() == 0 && !strings.Contains(value, ".")
			return nil
		}
	}
	return e.setUnix(value, time.Second)
}

func (e *entry) setUnix(value string, unit time.Duration) error {
	d, err := duration(value, unit)
	if err != nil || d <= 0 {
		return refusal(ReasonTime)
	}
	e.at, e.whole = time.Unix(0, int64(d)), d%time.Second == 0 && !strings.Contains(value, ".")
	return nil
}

// duration reads a decimal number of units exactly, as a float64 would not for seconds since 1970.
func duration(value string, unit time.Duration) (time.Duration, error) {
	number, fraction, _ := strings.Cut(value, ".")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || strings.ContainsAny(fraction, "eE") {
		// JSON encoders write small numbers in scientific notation.
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || !(f >= 0 && f < float64(math.MaxInt64/unit)) {
			return 0, fmt.Errorf("want a number, got %q", value)
		}
		return time.Duration(f * float64(unit)), nil
	}
	if n < 0 || n >= int64(math.MaxInt64/unit) {
		return 0, fmt.Errorf("number %d is out of range", n)
	}
	d := time.Duration(n) * unit
	if fraction != "" {
		f, err := strconv.ParseFloat("0."+fraction, 64)
		if err != nil {
			return 0, fmt.Errorf("want a number, got %q", value)
		}
		d += time.Duration(f*float64(unit) + 0.5)
	}
	return d, nil
}
