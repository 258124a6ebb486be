// Package source reads the demand that a backtest replays from where users keep it. Whatever the source, what comes back
// is a regular series in which a point that was not measured is missing, never zero; anything else is one clear error.
package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

const (
	// maxPerQuery stays below the 11,000 points per series that Prometheus answers at most.
	maxPerQuery = 10_000
	// maxPoints bounds a whole series: a year at 15 s is 2.1 million.
	maxPoints = 5_000_000
	// maxAnswer bounds one answer in bytes.
	maxAnswer = 64 << 20
	// patience is how long one answer is waited for.
	patience = time.Minute
)

// Prometheus is a range query, split into as many requests as the server's limit asks for.
type Prometheus struct {
	URL        string // of the server, without /api
	Query      string // must yield one series, in requests per second
	Start, End time.Time
	Step       time.Duration
	Headers    []string // of every request, as "Name: value": who asks, or for which tenant
	// Client, if set, makes the requests; the default waits a minute for each.
	Client *http.Client
}

// Read returns the demand from the first step at or after Start to the last before End, without what was not yet or no longer
// measured at its ends: a server keeps 15 days unless told otherwise, and weeks it never saw are no weeks without a demand.
func (p Prometheus) Read(ctx context.Context) (forecast.Series, error) {
	if err := p.Validate(); err != nil {
		return forecast.Series{}, err
	}
	start := p.Start.Truncate(p.Step)
	if start.Before(p.Start) {
		start = start.Add(p.Step)
	}
	n := int((p.End.Sub(start) + p.Step - 1) / p.Step)
	if n < 1 {
		return forecast.Series{}, fmt.Errorf("range %s to %s: holds no step of %s", p.Start.Format(time.RFC3339), p.End.Format(time.RFC3339), p.Step)
	}
	out := forecast.Series{Start: start.UTC(), Step: p.Step, Values: make([]float64, n)}
	for i := range out.Values {
		out.Values[i] = math.NaN()
	}
	first, last := n, -1
	for from := 0; from < n; from += maxPerQuery {
		points, err := p.ask(ctx, out.Time(from), out.Time(min(from+maxPerQuery, n)-1))
		if err != nil {
			return forecast.Series{}, fmt.Errorf("query %s: %w", p.address(), err)
		}
		for _, v := range points {
			i := int(math.Round(v.at.Sub(start).Seconds() / p.Step.Seconds()))
			if i < 0 || i >= n || math.IsNaN(v.value) {
				continue
			}
			out.Values[i] = v.value
			first, last = min(first, i), max(last, i)
		}
	}
	if last < 0 {
		return forecast.Series{}, fmt.Errorf("query %s: %q yields nothing between %s and %s", p.address(), p.Query,
			p.Start.Format(time.RFC3339), p.End.Format(time.RFC3339))
	}
	out.Start, out.Values = out.Time(first), out.Values[first:last+1]
	return out, nil
}

// address is the URL for people: without a password.
func (p Prometheus) address() string {
	u, err := url.Parse(p.URL)
	if err != nil {
		return p.URL[strings.LastIndex(p.URL, "@")+1:]
	}
	return u.Redacted()
}

// Validate returns all faults of the request, before anything is asked.
func (p Prometheus) Validate() error {
	var errs []error
	if u, err := url.Parse(p.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		errs = append(errs, fmt.Errorf("prometheus %q: want an address such as http://127.0.0.1:9090", p.address()))
	}
	if strings.TrimSpace(p.Query) == "" {
		errs = append(errs, errors.New("query is empty: want one that yields requests per second, such as sum(rate(http_requests_total[1m]))"))
	}
	if _, err := p.header(); err != nil {
		errs = append(errs, err)
	}
	if p.Step < time.Second || p.Step%time.Second != 0 {
		errs = append(errs, fmt.Errorf("step %s: want whole seconds, at least one", p.Step))
	} else if p.End.Sub(p.Start)/p.Step > maxPoints {
		errs = append(errs, fmt.Errorf("range of %s: has more than %d steps of %s", p.End.Sub(p.Start), maxPoints, p.Step))
	}
	return errors.Join(errs...)
}

// header reads Headers. Its errors show no value, which may be a secret.
func (p Prometheus) header() (http.Header, error) {
	out := http.Header{}
	for i, line := range p.Headers {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t\r\n") {
			return nil, fmt.Errorf("header %d: want Name: value, such as X-Scope-OrgID: tenant", i+1)
		}
		if value = strings.TrimSpace(value); value == "" || strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("header %s: want a value of one line", name)
		}
		out.Add(name, value)
	}
	return out, nil
}

type sample struct {
	at    time.Time
	value float64
}

func (p Prometheus) ask(ctx context.Context, from, to time.Time) ([]sample, error) {
	form := url.Values{
		"query": {p.Query}, "start": {strconv.FormatInt(from.Unix(), 10)}, "end": {strconv.FormatInt(to.Unix(), 10)},
		"step": {strconv.FormatFloat(p.Step.Seconds(), 'f', -1, 64)},
	}
	address := strings.TrimSuffix(p.URL, "/") + "/api/v1/query_range"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if req.Header, err = p.header(); err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := p.Client
	if client == nil {
		client = &http.Client{Timeout: patience}
	}
	resp, err := client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) && wrapped.Timeout() && ctx.Err() == nil {
			return nil, fmt.Errorf("no answer within %s: ask for less with a shorter range or a longer step", client.Timeout)
		}
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the address is said already
		}
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("answer is larger than %d bytes", maxAnswer)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("answer %s: say who asks in the address, as in https://user:password@host, or in a header", resp.Status)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return nil, fmt.Errorf("answer %s: there is no /api/v1/query_range below this address", resp.Status)
	}
	return parseMatrix(resp.Status, body)
}

// parseMatrix reads the answer of /api/v1/query_range.
func parseMatrix(status string, body []byte) ([]sample, error) {
	var answer struct {
		Status, ErrorType, Error string
		Data                     struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status == "" {
		return nil, fmt.Errorf("answer %s is not that of a Prometheus", status)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", answer.ErrorType, answer.Error)
	}
	if answer.Data.ResultType != "matrix" {
		return nil, fmt.Errorf("answer is a %q, want a matrix", answer.Data.ResultType)
	}
	var series []struct {
		Metric map[string]string
		Values [][2]json.RawMessage
	}
	if err := json.Unmarshal(answer.Data.Result, &series); err != nil {
		return nil, fmt.Errorf("read matrix: %w", err)
	}
	if len(series) > 1 {
		return nil, fmt.Errorf("query yields %d series, want one: sum() them", len(series))
	}
	var out []sample
	for _, s := range series {
		for _, pair := range s.Values {
			v, err := parseSample(pair)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
	}
	return out, nil
}

// parseSample reads [seconds, "value"]. NaN and infinities are not measurements.
func parseSample(pair [2]json.RawMessage) (sample, error) {
	var seconds float64
	var text string
	if err := json.Unmarshal(pair[0], &seconds); err != nil || math.Abs(seconds) > 1e11 {
		return sample{}, fmt.Errorf("time %s: want seconds since the epoch", pair[0])
	}
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return sample{}, fmt.Errorf("value %s: want a string", pair[1])
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return sample{}, fmt.Errorf("value %q: want a number", text)
	}
	if math.IsInf(v, 0) {
		v = math.NaN()
	}
	return sample{at: time.UnixMilli(int64(math.Round(seconds * 1000))), value: v}, nil
}
