package rpc

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// Config is the section rpc of the configuration file. It holds for every gRPC server and client of the process.
type Config struct {
	// Insecure permits plain text beyond loopback. Whoever reaches the port may then read, and change what is not guarded
	// by a token that everyone on the way can see.
	Insecure bool `yaml:"insecure"`
	// TLS turns plain text off.
	TLS TLS `yaml:"tls"`
	// Token is what this process's own clients authenticate with; none when empty.
	Token workload.Secret `yaml:"token"`
	// TokenFile holds Token instead; it is read again when it changes.
	TokenFile string `yaml:"token_file"`
	// Callers are those who authenticate with a token instead of a certificate.
	Callers []Caller `yaml:"callers"`
	// Allow restricts services to identities. A service that no rule names may be called by everyone who is authenticated.
	Allow []Rule `yaml:"allow"`
	// Limits bound what a caller may do to a server.
	Limits Limits `yaml:"limits"`
}

// How a server treats client certificates.
const (
	// ClientAuthNone asks for none.
	ClientAuthNone = "none"
	// ClientAuthOptional verifies one that is presented; a caller without needs a token.
	ClientAuthOptional = "optional"
	// ClientAuthRequire refuses connections without one. It is the default where there is a CA.
	ClientAuthRequire = "require"
)

// TLS names PEM files; they are read again when they change, and the last good ones are kept while they cannot be read.
type TLS struct {
	// Certificate is the chain that servers present, and clients when they are asked.
	Certificate string `yaml:"certificate"`
	// Key belongs to Certificate.
	Key string `yaml:"key"`
	// CA signs those who may connect, and the servers our clients trust; empty: clients trust the system's.
	CA string `yaml:"ca"`
	// ClientAuth is none, optional or require.
	ClientAuth string `yaml:"client_auth"`
	// ServerName is what clients expect in a server's certificate; empty: the host they dial.
	ServerName string `yaml:"server_name"`
}

// Caller is known by a token. Its name is its identity.
type Caller struct {
	// Name is what allow rules and records call it.
	Name string `yaml:"name"`
	// Token it sends as `authorization: Bearer <token>`.
	Token workload.Secret `yaml:"token"`
	// TokenFile holds Token instead; it is read again when it changes.
	TokenFile string `yaml:"token_file"`
	// TokenEnv is the environment variable that holds Token instead.
	TokenEnv string `yaml:"token_env"`
}

// Rule restricts a service, or one method of it.
type Rule struct {
	// Service is a full name such as foreshadow.v1.ProvisioningService, or foreshadow.v1.ProvisioningService/PauseProvisioning.
	// A rule for the method holds instead of one for its service.
	Service string `yaml:"service"`
	// Identities may call it: names of callers, or of certificates: a SPIFFE ID (or other URI), a DNS name, or the common
	// name of a certificate that has neither.
	Identities []string `yaml:"identities"`
}

// Limits bound what a caller may do to a server. An identity is a caller's or certificate's name, else an address (an
// IPv6 network of 64 bits).
type Limits struct {
	// RequestBytes bounds a message to a server. Answers may have up to MaxMessageBytes.
	RequestBytes int `yaml:"request_bytes"`
	// CallsPerSecond is the sustained rate of an identity, streams counted when they open.
	CallsPerSecond float64 `yaml:"calls_per_second"`
	// Burst is how many calls above that rate may come at once.
	Burst int `yaml:"burst"`
	// InFlight bounds the calls and open streams of an identity.
	InFlight int `yaml:"in_flight"`
	// StreamsPerConnection bounds them on one connection.
	StreamsPerConnection int `yaml:"streams_per_connection"`
	// Connections bounds the connections of a server.
	Connections int `yaml:"connections"`
	// ConnectionsPerAddress bounds those from one address.
	ConnectionsPerAddress int `yaml:"connections_per_address"`
	// Deadline is the longest that a call which is no stream may take, whatever its caller asks for.
	Deadline time.Duration `yaml:"deadline"`
	// Stall is how long a peer may take to shake hands, to send the request of a stream, and to accept a message of one.
	Stall time.Duration `yaml:"stall"`
	// Idle is how long a connection without calls is kept.
	Idle time.Duration `yaml:"idle"`
}

// Default is plain text on loopback with limits that no well-behaved client meets.
func Default() Config {
	return Config{Limits: Limits{
		RequestBytes: 256 << 10, CallsPerSecond: 1000, Burst: 2000, InFlight: 2000, StreamsPerConnection: 1000,
		Connections: 4000, ConnectionsPerAddress: 1000,
		Deadline: time.Minute, Stall: 10 * time.Second, Idle: 15 * time.Minute,
	}}
}

// serves says whether servers speak TLS; clients do as well when there is only a CA.
func (t TLS) serves() bool  { return t.Certificate != "" }
func (t TLS) enabled() bool { return t.Certificate != "" || t.CA != "" }

func (t TLS) clientAuth() string {
	switch {
	case !t.serves():
		return ClientAuthNone
	case t.ClientAuth != "":
		return t.ClientAuth
	case t.CA != "":
		return ClientAuthRequire
	default:
		return ClientAuthNone
	}
}

// authenticates says whether a caller must show who it is.
func (c Config) authenticates() bool {
	return c.TLS.clientAuth() != ClientAuthNone || len(c.Callers) > 0
}

// minToken is the fewest characters that a token may have: fewer can be guessed.
const minToken = 16

// Validate names the key of each fault, below the section.
func (c Config) Validate() error {
	errs := []error{c.TLS.validate(), c.Limits.validate()}
	if c.Token != "" && c.TokenFile != "" {
		errs = append(errs, errors.New("token_file: is given beside token; give one"))
	}
	errs = append(errs, short("token", c.Token))
	seen := map[string]bool{}
	for i, caller := range c.Callers {
		key := fmt.Sprintf("callers[%d].", i)
		switch {
		case caller.Name == "":
			errs = append(errs, errors.New(key+"name: is missing"))
		case seen[caller.Name]:
			errs = append(errs, fmt.Errorf("%sname: %q is given twice", key, caller.Name))
		}
		seen[caller.Name] = true
		given := 0
		for _, s := range []string{caller.Token.Reveal(), caller.TokenFile, caller.TokenEnv} {
			if s != "" {
				given++
			}
		}
		if given != 1 {
			errs = append(errs, errors.New(key+"token: give one of token, token_file and token_env"))
		}
		errs = append(errs, short(key+"token", caller.Token))
	}
	return errors.Join(append(errs, c.validateAllow())...)
}

func (c Config) validateAllow() error {
	var errs []error
	seen := map[string]bool{}
	for i, r := range c.Allow {
		key := fmt.Sprintf("allow[%d].", i)
		switch {
		case r.Service == "" || strings.HasPrefix(r.Service, "/") || strings.Count(r.Service, "/") > 1:
			errs = append(errs, fmt.Errorf("%sservice: want package.Service or package.Service/Method, got %q", key, r.Service))
		case seen[r.Service]:
			errs = append(errs, fmt.Errorf("%sservice: %q is given twice", key, r.Service))
		}
		seen[r.Service] = true
		if slices.Contains(r.Identities, "") {
			errs = append(errs, errors.New(key+"identities: one of them is empty"))
		}
	}
	if len(c.Allow) > 0 && !c.authenticates() {
		errs = append(errs, errors.New("allow: nobody can be told apart: give tls.certificate and tls.ca, or callers"))
	}
	return errors.Join(errs...)
}

func (t TLS) validate() error {
	var errs []error
	if (t.Certificate == "") != (t.Key == "") {
		errs = append(errs, errors.New("tls.key: certificate and key belong together; one of them is missing"))
	}
	switch t.ClientAuth {
	case "", ClientAuthNone, ClientAuthOptional, ClientAuthRequire:
	default:
		errs = append(errs, fmt.Errorf("tls.client_auth: want none, optional or require, got %q", t.ClientAuth))
	}
	if t.clientAuth() != ClientAuthNone && t.CA == "" {
		errs = append(errs, errors.New("tls.ca: is missing: client_auth needs to know who signs clients"))
	}
	return errors.Join(errs...)
}

func (l Limits) validate() error {
	var errs []error
	for _, n := range []struct {
		key string
		n   int
	}{
		{"request_bytes", l.RequestBytes}, {"burst", l.Burst}, {"in_flight", l.InFlight}, {"streams_per_connection", l.StreamsPerConnection},
		{"connections", l.Connections}, {"connections_per_address", l.ConnectionsPerAddress},
	} {
		if n.n < 1 || n.n > MaxMessageBytes {
			errs = append(errs, fmt.Errorf("limits.%s: want 1 to %d, got %d", n.key, MaxMessageBytes, n.n))
		}
	}
	if !(l.CallsPerSecond > 0) {
		errs = append(errs, fmt.Errorf("limits.calls_per_second: want more than 0, got %v", l.CallsPerSecond))
	}
	for _, d := range []struct {
		key string
		d   time.Duration
	}{{"deadline", l.Deadline}, {"stall", l.Stall}, {"idle", l.Idle}} {
		if d.d <= 0 {
			errs = append(errs, fmt.Errorf("limits.%s: want more than 0s, got %v", d.key, d.d))
		}
	}
	return errors.Join(errs...)
}

func short(key string, token workload.Secret) error {
	if n := len(token.Reveal()); n > 0 && n < minToken {
		return fmt.Errorf("%s: has %d characters; fewer than %d can be guessed", key, n, minToken)
	}
	return nil
}

// CheckListen says why a server may not listen on the address: plain text is for loopback.
func (c Config) CheckListen(address string) error {
	if c.TLS.serves() || c.Insecure || Loopback(address) {
		return nil
	}
	return fmt.Errorf("%s is reachable by others and would speak plain text: give rpc.tls, or say rpc.insecure: true", address)
}

// Loopback says whether only this machine reaches the host:port. A name other than localhost may be anything.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
