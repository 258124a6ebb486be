package redact

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

// Headers returns the header lines that may leave, ordered by name. net/http does not keep the order of the wire.
func (r *Redactor) Headers(h http.Header) []*foreshadowv1.Header {
	out := make([]*foreshadowv1.Header, 0, len(r.headers))
	for _, name := range r.headers {
		for _, value := range h[name] {
			out = append(out, &foreshadowv1.Header{Name: name, Value: r.known.header(r, name, value)})
		}
	}
	return out
}

// mediaType stands, among the names of headers, for a content type of which no more than that is wanted.
const mediaType = "media type"

const (
	maxKnown      = 2048
	maxKnownBytes = 512
)

// knownHeaders remembers what became of header values: clients send few different ones. It is safe for concurrent use.
type knownHeaders struct {
	mu  sync.RWMutex
	out map[headerLine]string
}

type headerLine struct{ name, value string }

func (k *knownHeaders) header(r *Redactor, name, value string) string {
	if len(value) > maxKnownBytes {
		return r.header(name, value)
	}
	k.mu.RLock()
	clean, ok := k.out[headerLine{name, value}]
	k.mu.RUnlock()
	if ok {
		return clean
	}
	clean = r.header(name, value)
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.out) >= maxKnown {
		clear(k.out)
	}
	// The clone lets go of the header block that the value is a part of.
	k.out[headerLine{name, strings.Clone(value)}] = clean
	return clean
}

func (r *Redactor) header(name, value string) string {
	switch name {
	case "Referer", "Origin", "Location", "Content-Location":
		return r.location(value)
	case "Content-Type":
		return r.contentType(value)
	case mediaType:
		return r.media(value)
	case "X-Forwarded-For", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip":
		return addresses(value)
	case "Forwarded":
		return "" // names, addresses and secrets of proxies in one
	}
	// Headers may hold any byte, protobuf strings may not.
	return r.Text(strings.ToValidUTF8(value, "\uFFFD"))
}

// location redacts an absolute URL; one that cannot be read is not passed on.
func (r *Redactor) location(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: r.Host(u.Host)}).String() + r.Target(u)
}

// contentType keeps the media type and the charset. A boundary is the client's choice, and is replaced by the one with which
// bodies of parts are written anew.
func (r *Redactor) contentType(value string) string {
	media, parameters, err := mime.ParseMediaType(value)
	if err != nil {
		return ""
	}
	keep := map[string]string{}
	if charset, has := parameters["charset"]; has && shape.IsName(charset) {
		keep["charset"] = charset
	}
	if strings.HasPrefix(media, "multipart/") {
		keep["boundary"] = r.boundary
	}
	return mime.FormatMediaType(r.Text(media), keep)
}

// Host keeps a name or an address, with its port; labels that look like secrets are replaced, and anything else is not
// passed on.
func (r *Redactor) Host(host string) string {
	name, port := host, ""
	if h, p, err := net.SplitHostPort(host); err == nil {
		name, port = h, p
	}
	if strings.Trim(port, "0123456789") != "" {
		return ""
	}
	bare := strings.Trim(name, "[]")
	if addr, err := netip.ParseAddr(bare); err != nil || addr.Zone() != "" {
		labels := strings.Split(bare, ".")
		for i, l := range labels {
			if strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
				return ""
			}
			if shape.LooksSecret(l) || r.matched(l) != l {
				labels[i] = strings.ToLower(r.sampler.Pseudonym("host", l))
			}
		}
		bare = strings.Join(labels, ".")
	}
	if port == "" {
		if strings.Contains(bare, ":") {
			return "[" + bare + "]"
		}
		return bare
	}
	return net.JoinHostPort(bare, port)
}

// addresses truncates a list of client addresses.
func addresses(value string) string {
	var out []string
	for part := range strings.SplitSeq(value, ",") {
		if network := Network(strings.TrimSpace(part)); network != "" {
			out = append(out, strings.TrimSuffix(strings.TrimSuffix(network, "/24"), "/48"))
		}
	}
	return strings.Join(out, ", ")
}

// Network truncates a client address to /24 (IPv4) or /48 (IPv6); "" for what is no address.
func Network(client string) string {
	addr, err := netip.ParseAddr(client)
	if err != nil {
		ap, err := netip.ParseAddrPort(client)
		if err != nil {
			return ""
		}
		addr = ap.Addr()
	}
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.String()
}
