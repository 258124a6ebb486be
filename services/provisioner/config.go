package provisioner

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config is the section provisioner of the configuration file. What may be done to a workload stands with the workload, in
// guardrails.
type Config struct {
	// Listen is the address of ProvisioningService, host:port.
	Listen string `yaml:"listen"`
	// Advertise is where the other provisioners of a lease reach this one, a host or host:port; of this one alone, so that of a
	// Service will not do. Empty: the host of listen, or the first address of this machine that others reach where that is any.
	Advertise string `yaml:"advertise"`
	// Admin is the address of the admin listener, host:port.
	Admin string `yaml:"admin"`
	// History is the address of HistoryService, which actions are listed from, host:port.
	History string `yaml:"history"`
	// StateDir keeps pauses and changes under way over restarts; one provisioner uses it at a time.
	StateDir string `yaml:"state_dir"`
	// Lease has one of several provisioners lead, on Kubernetes. What must not be forgotten is then kept beside the lease, and
	// state_dir is not used.
	Lease LeaseConfig `yaml:"lease"`
}

// LeaseConfig says how one of several provisioners leads.
type LeaseConfig struct {
	// Name of the Lease object; empty = there is only one provisioner.
	Name string `yaml:"name"`
	// Namespace of the Lease object, and of the ConfigMap <name>-journal.
	Namespace string `yaml:"namespace"`
	// Identity of this process; its host name, which is the name of the pod, when empty.
	Identity string `yaml:"identity"`
	// Duration after which a leader that was not heard of is replaced.
	Duration time.Duration `yaml:"duration"`
}

// DefaultConfig works on one machine.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:7005", Admin: "127.0.0.1:9105", History: "127.0.0.1:7003", StateDir: "foreshadow-state/provisioner",
		Lease: LeaseConfig{Duration: 8 * time.Second},
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
	if c.Lease.Name != "" && (c.Lease.Namespace == "" || c.Lease.Duration < 2*time.Second) {
		errs = append(errs, fmt.Errorf("provisioner.lease: want a namespace and a duration of at least 2s, got %q and %v", c.Lease.Namespace, c.Lease.Duration))
	}
	if _, err := c.advertised(0); err != nil {
		errs = append(errs, err)
	}
	if c.StateDir == "" {
		errs = append(errs, errors.New("provisioner.state_dir: is missing"))
	}
	return errors.Join(errs...)
}

// advertised is the host:port of provisioner.advertise, which has the port that is listened on where it names none; empty when it
// is not set.
func (c Config) advertised(port int) (string, error) {
	a := c.Advertise
	if a == "" {
		return "", nil
	}
	if net.ParseIP(a) == nil && strings.Contains(a, ":") {
		host, _, err := net.SplitHostPort(a)
		if err != nil || host == "" {
			return "", fmt.Errorf("provisioner.advertise: want a host or host:port, got %q", a)
		}
		return a, nil
	}
	return net.JoinHostPort(a, strconv.Itoa(port)), nil
}

// address is where others reach a listener of this process.
func (c Config) address(ln net.Addr) (string, error) {
	tcp, ok := ln.(*net.TCPAddr)
	if !ok {
		return "", fmt.Errorf("advertise %s: it is no TCP address", ln)
	}
	if a, err := c.advertised(tcp.Port); a != "" || err != nil {
		return a, err
	}
	if !tcp.IP.IsUnspecified() {
		return tcp.String(), nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find an address of this machine: %w", err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return net.JoinHostPort(n.IP.String(), strconv.Itoa(tcp.Port)), nil
		}
	}
	return "", errors.New("find an address of this machine: it has none that others reach: give provisioner.advertise")
}
