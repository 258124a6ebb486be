package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// Config says how to reach a Kafka cluster.
type Config struct {
	// Brokers are bootstrap addresses, host:port.
	Brokers []string `yaml:"brokers"`
	// ClientID names this program in the broker's logs and quotas.
	ClientID string `yaml:"client_id"`
	TLS      TLS    `yaml:"tls"`
	SASL     SASL   `yaml:"sasl"`
	// DialTimeout bounds one connection attempt: TCP, TLS and SASL together.
	DialTimeout time.Duration `yaml:"dial_timeout"`
	// RequestTimeout bounds one request, so that a broker that hangs (SIGSTOP, dead link) is left and dialed again.
	RequestTimeout time.Duration `yaml:"request_timeout"`
}

// TLS encrypts the connections. The zero value is plain text.
type TLS struct {
	Enabled bool `yaml:"enabled"`
	// CAFile is a PEM bundle; empty means the system's roots.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are this client's certificate for mutual TLS; both or neither.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName overrides the name the broker's certificate is checked against.
	ServerName string `yaml:"server_name"`
}

// Names of the SASL mechanisms that Config.SASL.Mechanism accepts.
const (
	SASLPlain       = "plain"
	SASLScramSHA256 = "scram-sha-256"
	SASLScramSHA512 = "scram-sha-512"
)

// SASL authenticates this client. The zero value is anonymous.
type SASL struct {
	Mechanism string          `yaml:"mechanism"`
	Username  string          `yaml:"username"`
	Password  workload.Secret `yaml:"password"`
}

// Default is a broker on this machine, without encryption.
func Default() Config {
	return Config{
		Brokers:        []string{"127.0.0.1:9092"},
		ClientID:       "foreshadow",
		DialTimeout:    5 * time.Second,
		RequestTimeout: 10 * time.Second,
	}
}

// Validate reports every fault of the configuration at once. It does no I/O.
func (c Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("kafka brokers: want at least one host:port"))
	}
	for i, broker := range c.Brokers {
		if host, port, err := net.SplitHostPort(broker); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("kafka brokers[%d] %q: want host:port", i, broker))
		}
	}
	if c.DialTimeout <= 0 {
		errs = append(errs, fmt.Errorf("kafka dial_timeout %s: must be positive", c.DialTimeout))
	}
	if c.RequestTimeout <= 0 {
		errs = append(errs, fmt.Errorf("kafka request_timeout %s: must be positive", c.RequestTimeout))
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		errs = append(errs, errors.New("kafka tls: cert_file and key_file are given together or not at all"))
	}
	if !c.TLS.Enabled && c.TLS != (TLS{}) {
		errs = append(errs, errors.New("kafka tls: files are given but enabled is false"))
	}
	switch c.SASL.Mechanism {
	case "":
		if c.SASL != (SASL{}) {
			errs = append(errs, errors.New("kafka sasl: username or password without a mechanism"))
		}
	case SASLPlain, SASLScramSHA256, SASLScramSHA512:
		if c.SASL.Username == "" || c.SASL.Password == "" {
			errs = append(errs, fmt.Errorf("kafka sasl %s: want username and password", c.SASL.Mechanism))
		}
	default:
		errs = append(errs, fmt.Errorf("kafka sasl mechanism %q: want %s, %s or %s",
			c.SASL.Mechanism, SASLPlain, SASLScramSHA256, SASLScramSHA512))
	}
	return errors.Join(errs...)
}

func (c Config) tlsConfig() (*tls.Config, error) {
	if !c.TLS.Enabled {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CAFile != "" {
		pem, err := os.ReadFile(c.TLS.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read kafka tls ca_file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read kafka tls ca_file %s: no PEM certificate in it", c.TLS.CAFile)
		}
	}
	if c.TLS.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load kafka tls certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

func (c Config) saslMechanism() (sasl.Mechanism, error) {
	switch c.SASL.Mechanism {
	case SASLPlain:
		return plain.Mechanism{Username: c.SASL.Username, Password: string(c.SASL.Password)}, nil
	case SASLScramSHA256:
		return scramMechanism(scram.SHA256, c.SASL)
	case SASLScramSHA512:
		return scramMechanism(scram.SHA512, c.SASL)
	default:
		return nil, nil
	}
}

func scramMechanism(algorithm scram.Algorithm, s SASL) (sasl.Mechanism, error) {
	m, err := scram.Mechanism(algorithm, s.Username, string(s.Password))
	if err != nil {
		return nil, fmt.Errorf("prepare kafka sasl %s: %w", s.Mechanism, err)
	}
	return m, nil
}
