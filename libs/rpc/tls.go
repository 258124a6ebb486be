package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
)

// material is what the files of TLS hold.
type material struct {
	certificates []tls.Certificate // none without a certificate of our own
	roots        *x509.CertPool    // nil: the system's
}

func (t TLS) load() (material, error) {
	var m material
	if t.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return m, fmt.Errorf("read certificate and key: %w", err)
		}
		m.certificates = []tls.Certificate{pair}
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return m, fmt.Errorf("read ca: %w", err)
		}
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(pem) {
			return m, fmt.Errorf("read ca: %s holds no certificate", t.CA)
		}
	}
	return m, nil
}

// server is the configuration of a handshake as server, made anew for each so that renewed files count. Sessions are not
// resumed: a resumed one would rest on a certificate that was verified before.
func (e *Edge) server() *tls.Config {
	m := e.files.get()
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: m.certificates, ClientCAs: m.roots, SessionTicketsDisabled: true,
	}
	switch e.cfg.TLS.clientAuth() {
	case ClientAuthRequire:
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	case ClientAuthOptional:
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg
}

// ServerTLS is the configuration of a server that speaks something else than gRPC with the same certificate, and asks its
// clients for none; nil without one.
func (e *Edge) ServerTLS() *tls.Config {
	e = e.orPlain()
	if !e.cfg.TLS.serves() {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &e.files.get().certificates[0], nil
	}}
}

// reloading shakes hands with the files as they are at that moment.
type reloading struct{ edge *Edge }

func (r *reloading) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	m := r.edge.files.get()
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: m.certificates, RootCAs: m.roots,
	}).ClientHandshake(ctx, authority, conn)
}

func (r *reloading) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := credentials.NewTLS(r.edge.server()).ServerHandshake(conn)
	if err != nil && !errors.Is(err, credentials.ErrConnDispatched) {
		r.edge.refuse("handshake")
	}
	return c, info, err
}

func (r *reloading) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (r *reloading) Clone() credentials.TransportCredentials { c := *r; return &c }

// OverrideServerName does nothing: the name is the connection's authority.
func (r *reloading) OverrideServerName(string) error { return nil }
