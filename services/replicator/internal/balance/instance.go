package balance

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// MaxHeadBytes bounds the head of an answer: an instance that never ends one would fill the memory of all.
const MaxHeadBytes = 1 << 20

// Instance is one copy of the service, with its own connections, so that they can be closed when it goes.
type Instance struct {
	// ID and Address are the platform's.
	ID      string
	Address string

	transport *http.Transport
	// grpc speaks HTTP/2, which gRPC is made of.
	grpc *http.Transport

	dialer *net.Dialer
	mu     sync.Mutex
	idle   []*Conn // oldest first
	sweep  *time.Timer

	// Guarded by the pool.
	inFlight   int
	asideUntil time.Time
	retired    bool
}

func newInstance(i platform.Instance, connect time.Duration) *Instance {
	dialer := &net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}
	instance := &Instance{ID: i.ID, Address: i.Address, dialer: dialer, transport: &http.Transport{
		DialContext: dialer.DialContext,
		// The default of two idle connections would make most requests of a busy instance dial anew.
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     30 * time.Second,
		// The client's own Accept-Encoding is passed on; bodies stay as they are.
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,

		MaxResponseHeaderBytes: MaxHeadBytes,
	}}
	instance.grpc = instance.transport.Clone()
	instance.grpc.Protocols = &http.Protocols{}
	instance.grpc.Protocols.SetUnencryptedHTTP2(true)
	return instance
}

// RoundTrip sends a request to the instance: gRPC by HTTP/2, all else by HTTP/1.1, which every server speaks.
func (i *Instance) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = "http", i.Address
	if IsGRPC(r) {
		return i.grpc.RoundTrip(r)
	}
	return i.transport.RoundTrip(r)
}

// IsGRPC reports whether a request is a gRPC call.
func IsGRPC(r *http.Request) bool {
	media := r.Header.Get("Content-Type")
	return r.ProtoMajor == 2 && strings.HasPrefix(media, "application/grpc") && !strings.HasPrefix(media, "application/grpc-web")
}

// closeIdle is not called with the pool's lock held, for which every request waits.
func (i *Instance) closeIdle() {
	i.transport.CloseIdleConnections()
	i.grpc.CloseIdleConnections()
	closeAll(i.takeAll())
}
