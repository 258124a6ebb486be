// Package stratum puts a request into its class of traffic: route, geography, device and network class. Every part is of
// bounded cardinality whatever a client sends, and holds only printable ASCII.
package stratum

import (
	"net/http"
	"strings"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	// Other is the route of all requests beyond the bound on routes.
	Other = "other"
	// Loop is the route of requests that were refused because the shadow sent them. They have no other part, so that they
	// never mix with users' traffic.
	Loop = "loop"

	maxGeographies = 300 // ISO 3166 has 249
	maxNetworks    = 16
	maxLabel       = 16
)

// Refused is the stratum of requests that the loop guard turned away.
var Refused = traffic.Stratum{Route: Loop, Geography: traffic.Unknown, Device: traffic.Unknown, Network: traffic.Unknown}

// Classifier is safe for concurrent use.
type Classifier struct {
	routes          *Routes
	devices         *devices
	geographyHeader string
	networkHeader   string
	geographies     *vocabulary
	networks        *vocabulary
}

// New returns a classifier by the tap's configuration.
func New(tap workload.Tap) *Classifier {
	return &Classifier{
		routes:          NewRoutes(tap.Routes, tap.MaxRoutes),
		devices:         newDevices(),
		geographyHeader: http.CanonicalHeaderKey(tap.GeographyHeader),
		networkHeader:   http.CanonicalHeaderKey(tap.NetworkHeader),
		geographies:     newVocabulary(maxGeographies, traffic.Unknown),
		networks:        newVocabulary(maxNetworks, traffic.Unknown),
	}
}

// Classify returns the stratum of a request.
func (c *Classifier) Classify(r *http.Request) traffic.Stratum {
	return traffic.Stratum{
		Route:     c.routes.Route(r.Method, r.URL.EscapedPath()),
		Geography: label(r.Header, c.geographyHeader, c.geographies, strings.ToUpper),
		Device:    c.devices.of(r.Header),
		Network:   label(r.Header, c.networkHeader, c.networks, strings.ToLower),
	}
}

// label reads a short word from a trusted header; anything else is unknown.
func label(h http.Header, name string, known *vocabulary, fold func(string) string) string {
	if name == "" {
		return traffic.Unknown
	}
	value := strings.TrimSpace(h.Get(name))
	if value == "" || len(value) > maxLabel {
		return traffic.Unknown
	}
	for i := range len(value) {
		if !isAlphanumeric(value[i]) && value[i] != '-' && value[i] != '_' {
			return traffic.Unknown
		}
	}
	return known.admit([]byte(fold(value)))
}
