package shadowrunner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// Config is the section shadow_runner of the configuration file. How a shadow is driven stands with its workload, in replay.
type Config struct {
	// Listen is the address of ExperimentService, host:port.
	Listen string `yaml:"listen"`
	// Admin is the address of the admin listener, host:port.
	Admin string `yaml:"admin"`
	// Lag is from the moment production received a request to the moment it is due in the shadow. It must cover the way
	// through the broker and what the clocks of tap and runner differ by.
	Lag time.Duration `yaml:"lag"`
	// MaxLate is how late a request may be sent; later ones are dropped.
	MaxLate time.Duration `yaml:"max_late"`
	// MaxQueued bounds the captured requests of a workload that wait for their moment.
	MaxQueued int `yaml:"max_queued"`
	// MaxQueuedBytes bounds the same in bytes.
	MaxQueuedBytes int `yaml:"max_queued_bytes"`
	// ReservoirRequests and ReservoirBytes bound the recent requests of a workload that measurements draw from.
	ReservoirRequests int `yaml:"reservoir_requests"`
	// ReservoirBytes bounds the same in bytes.
	ReservoirBytes int `yaml:"reservoir_bytes"`
	// MaxSteps bounds the load levels of one session of a capacity measurement; sessions go on until it is precise.
	MaxSteps int `yaml:"max_steps"`
	// CompareRatio is the share of the replayed GETs whose answers are compared with production's, in [0, 1]. Each is sent a
	// second time, so that what differs between equal shadows is known.
	CompareRatio float64 `yaml:"compare_ratio"`
}

// DefaultConfig works on one machine.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:7002", Admin: "127.0.0.1:9102", Lag: time.Second, MaxLate: 250 * time.Millisecond,
		MaxQueued: 50_000, MaxQueuedBytes: 64 << 20, ReservoirRequests: 5_000, ReservoirBytes: 32 << 20, MaxSteps: 7,
		CompareRatio: 0.01,
	}
}

// Validate names the key of each fault.
func (c Config) Validate() error {
	var errs []error
	for key, address := range map[string]string{"listen": c.Listen, "admin": c.Admin} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			errs = append(errs, fmt.Errorf("shadow_runner.%s: want host:port, got %q", key, address))
		}
	}
	if c.Lag <= 0 || c.MaxLate <= 0 {
		errs = append(errs, fmt.Errorf("shadow_runner.lag and max_late: must be positive, got %v and %v", c.Lag, c.MaxLate))
	}
	for key, n := range map[string]int{
		"max_queued": c.MaxQueued, "max_queued_bytes": c.MaxQueuedBytes, "reservoir_requests": c.ReservoirRequests, "reservoir_bytes": c.ReservoirBytes,
	} {
		if n < 1 {
			errs = append(errs, fmt.Errorf("shadow_runner.%s: must be at least 1, got %d", key, n))
		}
	}
	if c.MaxSteps < 3 {
		errs = append(errs, fmt.Errorf("shadow_runner.max_steps: must be at least 3, got %d", c.MaxSteps))
	}
	if !(c.CompareRatio >= 0 && c.CompareRatio <= 1) {
		errs = append(errs, fmt.Errorf("shadow_runner.compare_ratio: want a value from 0 to 1, got %v", c.CompareRatio))
	}
	return errors.Join(errs...)
}

// Instances is the part of a platform that the runner needs.
type Instances interface {
	// Watch calls fn with the state of a group at once and after each change, and with an error when the platform cannot
	// be asked, one call at a time, until ctx ends. It goes on asking by itself.
	Watch(ctx context.Context, group string, fn func(platform.State, error))
	// Usage reads what the instances of a group have used so far.
	Usage(ctx context.Context, group string) ([]platform.Usage, error)
}

// Deps is what the runner works with.
type Deps struct {
	Log       *slog.Logger
	Registry  prometheus.Registerer
	Admin     *telemetry.Admin
	Kafka     kafka.Config
	Workloads []workload.Workload
	Instances Instances
	// RPC secures and bounds its server and clients; nil is plain text on loopback.
	RPC *rpc.Edge
	// Trials runs other configurations for experiments; nil when the platform cannot.
	Trials Trials
}
