// Package traffic holds what the tap and the runner must agree upon: the stratum of a request, which sessions belong to a
// sample, the pseudonym a session keeps on its way, and the mark that tells a shadow request from a real one.
package traffic

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"io"
	"net/http"
	"sync"

	"github.com/dchest/siphash"
)

// ShadowHeader marks every request the runner sends; its value is the workload. A tap that sees it refuses the request: a
// shadow request must never reach production.
const ShadowHeader = "Foreshadow-Shadow"

// ShadowBaggage is the member of the W3C baggage header that carries the same mark through the shadow's own calls.
const ShadowBaggage = "foreshadow-shadow"

// Unknown stands for a part of a stratum that is not known.
const Unknown = "unknown"

// Stratum is the class of traffic a request belongs to. Each part is of bounded cardinality.
type Stratum struct {
	// Route is the HTTP method and the templated path, for example "GET /items/{id}".
	Route string
	// Geography is where the client is.
	Geography string
	// Device is desktop, mobile, tablet, bot or unknown.
	Device string
	// Network is the client's network class.
	Network string
}

// Compare orders strata by route, geography, device, network.
func (s Stratum) Compare(o Stratum) int {
	return cmp.Or(cmp.Compare(s.Route, o.Route), cmp.Compare(s.Geography, o.Geography),
		cmp.Compare(s.Device, o.Device), cmp.Compare(s.Network, o.Network))
}

// IsShadow reports whether a request carries the runner's mark.
func IsShadow(h http.Header) bool { return len(h.Values(ShadowHeader)) > 0 }

// Sampler decides by a keyed hash which sessions are copied. The decision is sticky (all requests of a session share it)
// and nested (a session of the 5 % sample is in the 10 % sample too), and cannot be steered without the key.
type Sampler struct {
	k0, k1 uint64 // of the hash that places sessions
	// macs are keyed hashes at rest: keying one costs more than hashing a short value.
	macs *sync.Pool
}

// NewSampler returns a sampler for the given key; replicators with equal keys agree.
func NewSampler(key string) Sampler {
	return Sampler{macs: &sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(key)) }}}.Salted("")
}

// Salted returns a sampler whose choice of sessions has nothing to do with that of another experiment. Pseudonyms are the
// same in all experiments.
func (s Sampler) Salted(experiment string) Sampler {
	mac := s.mac("sample", experiment)
	s.k0, s.k1 = binary.LittleEndian.Uint64(mac), binary.LittleEndian.Uint64(mac[8:])
	return s
}

// Draw is the place of a session among all sessions, uniform over its range.
type Draw uint64

// Draw returns the place of a session, by SipHash-2-4, which is meant for short inputs that others choose.
func (s Sampler) Draw(session string) Draw { return Draw(siphash.Hash(s.k0, s.k1, []byte(session))) }

// In reports whether the place is in the sample of the given ratio, in [0, 1].
func (d Draw) In(ratio float64) bool {
	// 53 bits fill a float64 exactly, so a ratio of 1 includes everything and 0 nothing.
	return float64(d>>11)/(1<<53) < ratio
}

// Includes reports whether the session is in the sample of the given ratio, in [0, 1].
func (s Sampler) Includes(session string, ratio float64) bool { return s.Draw(session).In(ratio) }

// Pseudonym returns a stable stand-in for a value, 16 characters of base64url; equal values of one kind get equal ones.
func (s Sampler) Pseudonym(kind, value string) string {
	return base64.RawURLEncoding.EncodeToString(s.mac("pseudonym/"+kind, value)[:12])
}

// Digest is a keyed hash of a body, 32 bytes: equal bodies can be told to be equal, and nobody without the key can try out
// which body it was.
func (s Sampler) Digest() hash.Hash { return hmac.New(sha256.New, s.mac("digest", "")) }

func (s Sampler) mac(domain, value string) []byte {
	h := s.macs.Get().(hash.Hash)
	defer s.macs.Put(h)
	h.Reset()
	_, _ = io.WriteString(h, domain)
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, value)
	return h.Sum(nil)
}
