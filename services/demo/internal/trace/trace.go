// Package trace holds the real data the demo plays: the pace of a day (day.csv) and the mix of requests (access.log). See
// SOURCES.md for where both come from.
package trace

import (
	"bufio"
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed day.csv
var dayCSV string

//go:embed access.log
var accessLog string

// Pace is the demand of consecutive equal steps of a real service, in its own unit.
type Pace struct {
	// Start of the first step, as recorded.
	Start time.Time
	// Step is the length of a step.
	Step time.Duration
	// Values per step.
	Values []float64
}

// LoadPace reads the embedded pace.
func LoadPace() (Pace, error) {
	p := Pace{Step: 12 * time.Minute}
	for i, line := range strings.Split(strings.TrimSpace(dayCSV), "\n")[1:] {
		stamp, text, _ := strings.Cut(line, ",")
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return Pace{}, fmt.Errorf("day.csv line %d: %w", i+2, err)
		}
		at, err := time.Parse(time.RFC3339, stamp)
		if err != nil {
			return Pace{}, fmt.Errorf("day.csv line %d: %w", i+2, err)
		}
		if i == 0 {
			p.Start = at
		} else if want := p.Start.Add(time.Duration(i) * p.Step); !at.Equal(want) {
			return Pace{}, fmt.Errorf("day.csv line %d: time is %s, want %s", i+2, at, want)
		}
		p.Values = append(p.Values, v)
	}
	return p, nil
}

// Request is one line of the access log.
type Request struct {
	// Client is the address of the client.
	Client string
	// Method is GET or HEAD.
	Method string
	// Target is path and query.
	Target string
	// Status and Bytes are what the site answered.
	Status int
	Bytes  int
	// Referer and UserAgent are as sent; empty when not sent.
	Referer   string
	UserAgent string
}

var combined = regexp.MustCompile(`^(\S+) \S+ \S+ \[[^\]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+|-) "([^"]*)" "([^"]*)"$`)

// LoadRequests reads the embedded access log, in its order.
func LoadRequests() ([]Request, error) {
	var out []Request
	scanner := bufio.NewScanner(strings.NewReader(accessLog))
	for line := 1; scanner.Scan(); line++ {
		m := combined.FindStringSubmatch(scanner.Text())
		if m == nil {
			return nil, fmt.Errorf("access.log line %d is not in combined format", line)
		}
		status, _ := strconv.Atoi(m[4])
		size, _ := strconv.Atoi(m[5]) // "-" is no body
		dash := func(s string) string {
			if s == "-" {
				return ""
			}
			return s
		}
		out = append(out, Request{
			Client: m[1], Method: m[2], Target: m[3], Status: status, Bytes: size, Referer: dash(m[6]), UserAgent: dash(m[7]),
		})
	}
	return out, scanner.Err()
}
