package main

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/stratum"
)

// request is one of a trace; value is what p95 is asked of.
type request struct {
	session string
	stratum traffic.Stratum
	value   float64
}

type trace struct {
	name     string
	requests []request
}

var combined = regexp.MustCompile(`^(\S+) \S+ \S+ \[[^\]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+|-) "([^"]*)" "([^"]*)"`)

// loadLog reads an access log the way the tap sees traffic: strata by the classifier, a session is an address and an agent.
// Logs have no latencies; the measured quantity is the size of the response. Lines in another format are left out.
func loadLog(path string) (trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return trace{}, fmt.Errorf("open log: %w", err)
	}
	defer f.Close()
	classifier, err := stratum.New(workload.Default().Tap)
	if err != nil {
		return trace{}, err
	}
	t := trace{name: path[max(0, len(path)-28):]}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := combined.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		u, err := url.ParseRequestURI(m[3])
		if err != nil {
			continue
		}
		size, err := strconv.ParseFloat(m[5], 64)
		if err != nil {
			size = 0 // "-" is no body
		}
		r := &http.Request{Method: m[2], URL: u, Header: http.Header{"User-Agent": {m[7]}}}
		t.requests = append(t.requests, request{m[1] + " " + m[7], classifier.Classify(r, m[1]), size})
	}
	if err := lines.Err(); err != nil {
		return trace{}, fmt.Errorf("read log: %w", err)
	}
	return t, nil
}

// shape of a synthetic trace.
type shape struct {
	sessions, routes int
	// skew is the exponent of the routes' popularity (Zipf); tail that of the sessions' lengths (Pareto): both are more
	// uneven the further they are from each other.
	skew, tail float64
}

// synthetic makes sessions that keep to a few routes each, with log-normal latencies that depend on the route and, for one
// session in ten, on the session: what makes sessions differ is what makes sampling them hard.
func synthetic(name string, seed uint64, s shape) trace {
	rng := rand.New(rand.NewPCG(seed, 0))
	weights, sum := make([]float64, s.routes), 0.0
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -s.skew)
		sum += weights[i]
	}
	pick := func() int {
		u := rng.Float64() * sum
		for i, w := range weights {
			if u -= w; u < 0 {
				return i
			}
		}
		return len(weights) - 1
	}
	t := trace{name: name}
	devices := []string{stratum.Desktop, stratum.Mobile}
	for i := range s.sessions {
		length := min(500, int(2*math.Pow(1-rng.Float64(), -1/s.tail)))
		favourite, device, slow := pick(), devices[rng.IntN(2)], 1.0
		if rng.IntN(10) == 0 {
			slow = 3
		}
		for range length {
			route := favourite
			if rng.IntN(2) == 0 {
				route = pick()
			}
			t.requests = append(t.requests, request{
				"s" + strconv.Itoa(i),
				traffic.Stratum{Route: "GET /r" + strconv.Itoa(route), Device: device},
				slow * 0.01 * float64(1+route%7) * math.Exp(0.5*rng.NormFloat64()),
			})
		}
	}
	return t
}
