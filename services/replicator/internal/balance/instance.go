package balance

import (
	"net"
	"net/http"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// Instance is one copy of the service, with its own connections, so that they can be closed when it goes.
type Instance struct {
	// ID and Address are the platform's.
	ID      string
	Address string

	transport *http.Transport

	// Guarded by the pool.
	inFlight   int
	asideUntil time.Time
	retired    bool
}

func newInstance(i platform.Instance, connect time.Duration) *Instance {
	dialer := &net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}
	return &Instance{ID: i.ID, Address: i.Address, transport: &http.Transport{
		DialContext: dialer.DialContext,
		// The default of two idle connections would make most requests of a busy instance dial anew.
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     30 * time.Second,
		// The client's own Accept-Encoding is passed on; bodies stay as they are.
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
	}}
}

// RoundTrip sends a request to the instance.
func (i *Instance) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = "http", i.Address
	return i.transport.RoundTrip(r)
}
