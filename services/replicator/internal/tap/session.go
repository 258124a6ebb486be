package tap

import (
	"net"
	"net/http"
	"strings"
)

// session is what identifies the client over its requests: the configured cookie or header, else address and user agent.
// The kinds are kept apart, or a client could choose to be taken for another.
func (t *Tap) session(r *http.Request) string {
	if t.cookie != "" {
		if c, err := r.Cookie(t.cookie); err == nil && c.Value != "" {
			return "cookie\x00" + c.Value
		}
	}
	if t.header != "" {
		if v := r.Header.Get(t.header); v != "" {
			return "header\x00" + v
		}
	}
	return "client\x00" + t.address(r) + "\x00" + r.Header.Get("User-Agent")
}

// address is the client's, without the port, which changes with each connection.
func (t *Tap) address(r *http.Request) string {
	if t.cfg.TrustForwarded {
		first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
		if first = strings.TrimSpace(first); first != "" {
			return first
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
