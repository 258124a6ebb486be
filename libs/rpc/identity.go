package rpc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// identity is who makes a call.
type identity struct {
	// names that allow rules may mention; none of a caller that is known by its address only.
	names []string
	// label is the first name, else the address: limits count by it.
	label string
	// until is when its certificate expires; zero without one.
	until time.Time
}

// CallerName returns the name of whoever makes the call that ctx belongs to; empty when it did not have to say.
func CallerName(ctx context.Context) string {
	if c := callOf(ctx); c != nil && len(c.who.names) > 0 {
		return c.who.names[0]
	}
	return ""
}

// callers knows the tokens.
type callers struct {
	names  []string
	tokens []*watched[string]
}

func newCallers(log *slog.Logger, list []Caller) (*callers, error) {
	out := &callers{}
	for i, c := range list {
		if c.TokenEnv != "" {
			c.Token = workload.Secret(os.Getenv(c.TokenEnv))
		}
		token, err := watchToken(log, fmt.Sprintf("rpc.callers[%d] %s", i, c.Name), c.Token, c.TokenFile)
		if err != nil {
			return nil, err
		}
		out.names, out.tokens = append(out.names, c.Name), append(out.tokens, token)
	}
	return out, nil
}

// find returns the caller with the token. It takes as long for every token: hashes of one length are compared, and all of
// them.
func (c *callers) find(token string) (name string, known bool) {
	given := sha256.Sum256([]byte(token))
	for i, t := range c.tokens {
		want := sha256.Sum256([]byte(t.get()))
		if subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
			name, known = c.names[i], true
		}
	}
	return name, known
}

// identify says who makes a call. A token speaks louder than a certificate: whoever passes calls on, as the console does,
// must not lend its own name to those it passes on.
func (s *Server) identify(ctx context.Context, header metadata.MD, now time.Time) (identity, error) {
	p, _ := peer.FromContext(ctx)
	who := identity{label: network(p)}
	certificate := verified(p)
	if certificate != nil {
		who.until = certificate.NotAfter
		if !now.Before(certificate.NotAfter) {
			return who, fmt.Errorf("the certificate expired at %s: %w", certificate.NotAfter.UTC().Format(time.RFC3339), ErrUnauthenticated)
		}
	}
	if len(s.edge.callers.names) > 0 {
		token, given, err := bearer(header)
		if err != nil {
			return who, err
		}
		if given {
			name, known := s.edge.callers.find(token)
			if !known {
				return who, fmt.Errorf("the token is not known: %w", ErrUnauthenticated)
			}
			who.names, who.label = []string{name}, name
			return who, nil
		}
	}
	if names := namesOf(certificate); len(names) > 0 {
		who.names, who.label = names, names[0]
	}
	return who, nil
}

// maxAuthorization bounds the header that carries a token.
const maxAuthorization = 4096

// bearer returns the token of a call. Anything else in the header is an error, and so is a second one: the two might be
// read differently by others on the way.
func bearer(header metadata.MD) (token string, given bool, err error) {
	values := header.Get(authorization)
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 || len(values[0]) > maxAuthorization {
		return "", false, fmt.Errorf("authorization: want one bearer token: %w", ErrUnauthenticated)
	}
	scheme, token, found := strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); !found || !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", false, fmt.Errorf("authorization: want `Bearer <token>`: %w", ErrUnauthenticated)
	}
	return token, true, nil
}

// verified returns the certificate of a client that our CA vouches for.
func verified(p *peer.Peer) *x509.Certificate {
	if p == nil {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0][0]
}

// namesOf are the URIs, then the DNS names. The common name counts only where there is neither: signers check the former
// and tend to let the latter through.
func namesOf(c *x509.Certificate) []string {
	if c == nil {
		return nil
	}
	var names []string
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	names = append(names, c.DNSNames...)
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName)
	}
	return names
}

// network is the address of a peer, or the 64 bits of it that an IPv6 host cannot choose freely.
func network(p *peer.Peer) string {
	if p == nil || p.Addr == nil {
		return "unknown"
	}
	return hostOf(p.Addr)
}

func hostOf(addr net.Addr) string {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return "unknown"
	}
	ip := ap.Addr().Unmap()
	if ip.Is6() {
		if prefix, err := ip.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}
