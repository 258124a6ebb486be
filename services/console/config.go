package console

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/foreshadow/foreshadow/libs/rpc"
)

// Config is the section console of the configuration file.
type Config struct {
	// Listen is the host:port of the page.
	Listen string `yaml:"listen"`
	// Admin is the host:port of the admin listener; the command serves it.
	Admin string `yaml:"admin"`
	// History is the host:port of HistoryService.
	History string `yaml:"history"`
	// Predictor is the host:port of RecommendationService and ForecastService.
	Predictor string `yaml:"predictor"`
	// Provisioner is the host:port of ProvisioningService.
	Provisioner string `yaml:"provisioner"`
	// ShadowRunner is the host:port of ExperimentService.
	ShadowRunner string `yaml:"shadow_runner"`
	// Hosts are names the page may be reached by; IP addresses and localhost always are. Any other Host header is refused,
	// so that a hostile page cannot rebind its own name to this address and press the buttons.
	Hosts []string `yaml:"hosts"`
	// TLS serves the page over HTTPS, with the certificate of the section rpc.
	TLS bool `yaml:"tls"`
	// Insecure permits plain text beyond loopback, behind a proxy that speaks TLS for example. Whoever reaches the port may
	// then read what the services know, and press the buttons unless a token is asked for, which everyone on the way can see.
	Insecure bool `yaml:"insecure"`
	// Retention is how far back the page shows windows.
	Retention time.Duration `yaml:"retention"`
	// MaxClients bounds the browsers connected at once, per workload.
	MaxClients int `yaml:"max_clients"`
}

// DefaultConfig finds the other services on this machine.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8090", Admin: "127.0.0.1:9106",
		History: "127.0.0.1:7003", Predictor: "127.0.0.1:7004", Provisioner: "127.0.0.1:7005", ShadowRunner: "127.0.0.1:7002",
		Retention: 10 * time.Minute, MaxClients: 100,
	}
}

// Validate names the key of each fault.
func (c Config) Validate() error {
	var errs []error
	for _, a := range []struct{ key, address string }{
		{"listen", c.Listen}, {"admin", c.Admin}, {"history", c.History}, {"predictor", c.Predictor},
		{"provisioner", c.Provisioner}, {"shadow_runner", c.ShadowRunner},
	} {
		if _, _, err := net.SplitHostPort(a.address); err != nil {
			errs = append(errs, fmt.Errorf("console.%s: want host:port, got %q", a.key, a.address))
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err == nil && !c.TLS && !c.Insecure && !rpc.Loopback(c.Listen) {
		errs = append(errs, fmt.Errorf("console.listen: %s is reachable by others and would speak plain text: set console.tls, or say console.insecure: true", c.Listen))
	}
	if c.Retention < time.Minute || c.Retention > 24*time.Hour {
		errs = append(errs, fmt.Errorf("console.retention: want 1m to 24h, got %v", c.Retention))
	}
	if c.MaxClients < 1 {
		errs = append(errs, fmt.Errorf("console.max_clients: must be at least 1, got %d", c.MaxClients))
	}
	return errors.Join(errs...)
}
