package replicator

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/accesslog"
	"github.com/foreshadow/foreshadow/services/replicator/internal/packet"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// Config is the section `replicator`.
type Config struct {
	// Capture says by which way requests come in.
	Capture Capture `yaml:"capture"`
	// Listen is where users' requests arrive, or their copies in mode mirror, host:port.
	Listen string `yaml:"listen"`
	// Admin is where the admin pages are, host:port.
	Admin string `yaml:"admin"`
	// Workload names the workload to tap; may be empty when there is just one.
	Workload string `yaml:"workload"`
	// QueueBytes bounds the copies that wait for the broker; above it the newest are dropped.
	QueueBytes int `yaml:"queue_bytes"`
	// ObservationQueueBytes bounds the observations that wait; the default holds far more than a minute of them.
	ObservationQueueBytes int `yaml:"observation_queue_bytes"`
	// CPUBudget is the part of the processors that the replicator may use before it sheds the sample, in (0, 1]; 1 sheds
	// never. Users' requests are never shed.
	CPUBudget float64 `yaml:"cpu_budget"`
	// HeaderTimeout is how long a client may take to send a request head.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	// IdleTimeout is how long a client's connection may stay idle between two requests.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// MaxHeaderBytes bounds a request head.
	MaxHeaderBytes int `yaml:"max_header_bytes"`
	// ConnectTimeout bounds one attempt to connect to an instance. Systems repeat what got lost of one after 1 s: less fails requests
	// to an instance that is merely busy.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// WaitReady is how long a request waits for an instance when none is ready; after it the answer is 503. Attempts to connect do
	// not count.
	WaitReady time.Duration `yaml:"wait_ready"`
	// MaxWaiting bounds the requests that wait so.
	MaxWaiting int `yaml:"max_waiting"`
	// DrainTimeout is how long open requests may go on after the end was asked for, and a tenth of it how long open connections
	// may bring one more.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// TrustForwarded keeps and extends the X-Forwarded-* of a proxy in front. Turn it off where clients connect directly.
	TrustForwarded bool `yaml:"trust_forwarded"`
	// ShortWay serves plain HTTP/1.1 requests of the proxy without net/http, at a fraction of the cost. Turn it off to have
	// net/http serve all of them, and where the system is no unix: the short way dials for each request there.
	ShortWay bool `yaml:"short_way"`
	// KeepBodies lists the media types of request bodies that may travel. Forms, JSON, multipart forms and text are redacted;
	// whatever else is listed travels as it is.
	KeepBodies []string `yaml:"keep_bodies"`
}

// DefaultConfig returns values that work on one machine.
func DefaultConfig() Config {
	return Config{
		Capture: Capture{Mode: ModeProxy, AccessLog: accesslog.DefaultConfig(), Packet: packet.DefaultConfig()},
		Listen:  "127.0.0.1:8080", Admin: "127.0.0.1:9101",
		QueueBytes: 64 << 20, ObservationQueueBytes: 64 << 20,
		HeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ConnectTimeout: 1500 * time.Millisecond, WaitReady: time.Second, MaxWaiting: 1000, DrainTimeout: 10 * time.Second,
		CPUBudget: 0.9, TrustForwarded: true, ShortWay: true, KeepBodies: []string{tap.FormType, tap.JSONType, tap.MultipartType},
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var errs []error
	fault := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("replicator.%s: %s", key, fmt.Sprintf(format, args...)))
	}
	c.Capture.validate(fault)
	for key, address := range map[string]string{"listen": c.Listen, "admin": c.Admin} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			fault(key, "want host:port, got %q", address)
		}
	}
	least := kafka.DefaultPublisherConfig().MaxMessageBytes + 1024
	for key, n := range map[string]int{"queue_bytes": c.QueueBytes, "observation_queue_bytes": c.ObservationQueueBytes} {
		if n < least {
			fault(key, "must hold one message, %d bytes, got %d", least, n)
		}
	}
	for key, d := range map[string]time.Duration{
		"header_timeout": c.HeaderTimeout, "idle_timeout": c.IdleTimeout, "connect_timeout": c.ConnectTimeout, "drain_timeout": c.DrainTimeout,
	} {
		if d <= 0 {
			fault(key, "must be positive, got %v", d)
		}
	}
	if c.WaitReady < 0 || c.MaxWaiting < 0 {
		fault("wait_ready", "and max_waiting must not be negative, got %v and %d", c.WaitReady, c.MaxWaiting)
	}
	if !(c.CPUBudget > 0 && c.CPUBudget <= 1) {
		fault("cpu_budget", "want a value above 0 and at most 1, got %v", c.CPUBudget)
	}
	if c.MaxHeaderBytes < 1024 {
		fault("max_header_bytes", "must be at least 1024, got %d", c.MaxHeaderBytes)
	}
	return errors.Join(errs...)
}

// pick returns the workload to tap.
func (c Config) pick(workloads []workload.Workload) (workload.Workload, error) {
	if c.Workload == "" && len(workloads) == 1 {
		return workloads[0], nil
	}
	for _, w := range workloads {
		if w.Name == c.Workload {
			return w, nil
		}
	}
	if c.Workload == "" {
		return workload.Workload{}, fmt.Errorf("replicator.workload: is missing, and there are %d workloads to choose from", len(workloads))
	}
	return workload.Workload{}, fmt.Errorf("replicator.workload: no workload is named %q", c.Workload)
}
