package provisioner

import (
	"errors"
	"fmt"
	"net"
)

// Config is the section provisioner of the configuration file. What may be done to a workload stands with the workload, in
// guardrails.
type Config struct {
	// Listen is the address of ProvisioningService, host:port.
	Listen string `yaml:"listen"`
	// Admin is the address of the admin listener, host:port.
	Admin string `yaml:"admin"`
	// History is the address of HistoryService, which actions are listed from, host:port.
	History string `yaml:"history"`
	// StateDir keeps pauses and changes under way over restarts; one provisioner uses it at a time.
	StateDir string `yaml:"state_dir"`
}

// DefaultConfig works on one machine.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:7005", Admin: "127.0.0.1:9105", History: "127.0.0.1:7003", StateDir: "foreshadow-state/provisioner",
	}
}

// Validate names the key of each fault.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct{ key, address string }{{"listen", c.Listen}, {"admin", c.Admin}, {"history", c.History}} {
		if _, _, err := net.SplitHostPort(f.address); err != nil {
			errs = append(errs, fmt.Errorf("provisioner.%s: want host:port, got %q", f.key, f.address))
		}
	}
	if c.StateDir == "" {
		errs = append(errs, errors.New("provisioner.state_dir: is missing"))
	}
	return errors.Join(errs...)
}
