package tap

import (
	"net"
	"net/http"
	"strings"
)

// session is what identifies the client over its requests: the configured cookie or header, else the trace if it
// is to count, else address and user agent.
// The kinds are kept apart, or a client could choose to be taken for another.
func (s *settings) session(r *http.Request) string {
	if s.cookie != "" {
		if c, err := r.Cookie(s.cookie); err == nil && c.Value != "" {
			return "cookie\x00" + c.Value
		}
	}
	if s.header != "" {
		if v := r.Header.Get(s.header); v != "" {
			return "header\x00" + v
		}
	}
	if s.trace {
		if v := traceparent(r.Header); v != "" {
			return "trace\x00" + v[3:35]
		}
	}
	return "client\x00" + s.address(r) + "\x00" + r.Header.Get("User-Agent")
}

// address is the client's, without the port, which changes with each connection.
func (s *settings) address(r *http.Request) string {
	if s.trustForwarded {
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
