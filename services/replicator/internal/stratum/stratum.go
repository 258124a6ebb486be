// Package stratum puts a request into its class of traffic: route, geography, device and network class. Every part, and
// the number of their combinations, is of bounded cardinality whatever a client sends; what lies beyond a bound shares a
// name and is counted. Every part holds only printable ASCII, and nothing that looks like a secret.
package stratum

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	// Other is the route of all requests beyond the bound on routes, and each part of the stratum of all requests beyond
	// the bound on strata.
	Other = "other"
	// Loop is the route of requests that were refused because the shadow sent them. They have no other part, so that they
	// never mix with users' traffic.
	Loop = "loop"

	maxLabel = 32
)

// Refused is the stratum of requests that the loop guard turned away.
var Refused = traffic.Stratum{Route: Loop, Geography: traffic.Unknown, Device: traffic.Unknown, Network: traffic.Unknown}

// Rest is the stratum of requests beyond the bound on strata.
var Rest = traffic.Stratum{Route: Other, Geography: Other, Device: Other, Network: Other}

// Classifier is safe for concurrent use.
type Classifier struct {
	routes          *Routes
	devices         *devices
	geographyHeader string
	geography       *database
	networks        networks

	max   int
	mu    sync.RWMutex
	known map[traffic.Stratum]bool
	over  atomic.Uint64
}

// New returns a classifier by the tap's configuration. It reads the databases that are named there; a fault of theirs
// names the key and the path.
func New(tap workload.Tap) (*Classifier, error) {
	geography, err := openDatabase(countryOf(), tap.GeographyDatabase)
	if err != nil {
		return nil, err
	}
	network, err := openDatabase(connectionOf(), tap.NetworkDatabase)
	if err != nil {
		return nil, err
	}
	c := &Classifier{
		routes:          NewRoutes(tap.Routes, tap.MaxRoutes, tap.MaxWords),
		devices:         newDevices(),
		geographyHeader: http.CanonicalHeaderKey(tap.GeographyHeader),
		geography:       geography,
		networks:        networks{header: http.CanonicalHeaderKey(tap.NetworkHeader), database: network},
		max:             tap.MaxStrata, known: map[traffic.Stratum]bool{},
	}
	c.routes.forgot = c.forget
	for _, p := range tap.RedactPatterns {
		re, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("tap.redact_patterns: %w", err)
		}
		c.routes.patterns = append(c.routes.patterns, re)
	}
	return c, nil
}

// forget lets strata earn their places anew, after routes were given up.
func (c *Classifier) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.known)
}

// Classify returns the stratum of a request; client is the address of the client, without a port.
func (c *Classifier) Classify(r *http.Request, client string) traffic.Stratum {
	var addr netip.Addr
	if c.geography != nil || c.networks.database != nil {
		addr, _ = netip.ParseAddr(client) // an invalid one is not known
	}
	return c.admit(traffic.Stratum{
		Route:     c.routes.Route(r.Method, r.URL.EscapedPath(), IsGRPC(r)),
		Geography: c.country(r.Header, addr),
		Device:    c.devices.of(r.Header),
		Network:   c.networks.of(r.Header, addr),
	})
}

// IsGRPC reports whether a request is a gRPC call.
func IsGRPC(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(first(r.Header, "Content-Type"), "application/grpc")
}

// admit bounds the combinations.
func (c *Classifier) admit(st traffic.Stratum) traffic.Stratum {
	c.mu.RLock()
	ok, full := c.known[st], len(c.known) >= c.max
	c.mu.RUnlock()
	if ok {
		return st
	}
	if !full {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.known) < c.max {
			c.known[st] = true
			return st
		}
	}
	c.over.Add(1)
	return Rest
}

// Overflow is how many requests were folded, by the bound that they were beyond: routes or strata.
func (c *Classifier) Overflow() (routes, strata uint64) {
	return c.routes.known.over.Load(), c.over.Load()
}

// Known is how many routes have a name of their own at this moment.
func (c *Classifier) Known() int {
	c.routes.known.mu.RLock()
	defer c.routes.known.mu.RUnlock()
	return len(c.routes.known.known)
}

// country is an ISO 3166-1 code, from the trusted header or else from the database.
func (c *Classifier) country(h http.Header, client netip.Addr) string {
	if c.geographyHeader != "" {
		if code := countryCode(first(h, c.geographyHeader)); code != traffic.Unknown {
			return code
		}
	}
	if c.geography == nil {
		return traffic.Unknown
	}
	return countryCode(c.geography.lookup(client))
}

// countryCode accepts two letters; there are 676 of them at most.
func countryCode(value string) string {
	value = strings.TrimSpace(value)
	if len(value) != 2 || !isLetter(value[0]) || !isLetter(value[1]) {
		return traffic.Unknown
	}
	return strings.Clone(strings.ToUpper(value)) // or it would hold the head that it is a part of
}

// first is the first value of a header under its canonical name, without canonicalising the name again.
func first(h http.Header, canonical string) string {
	if v := h[canonical]; len(v) > 0 {
		return v[0]
	}
	return ""
}
