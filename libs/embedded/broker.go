package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// BrokerConfig says where the embedded broker listens and where it keeps its log.
type BrokerConfig struct {
	// Listen is host:port. A fixed port lets the broker restart where its clients expect it; port 0 takes a free one.
	Listen string `yaml:"listen"`
	// Advertise is the host:port that clients are told to come back to. Empty means the listening address,
	// which is wrong when Listen is a wildcard: a client cannot dial 0.0.0.0 of another machine.
	Advertise string `yaml:"advertise"`
	// DataDir keeps topics, records and group offsets over a restart. Empty keeps everything in RAM.
	DataDir string `yaml:"data_dir"`
	// SyncWrites flushes every batch to the disk before it is acknowledged. Without it an acknowledged record
	// survives kill -9 of the broker (the kernel holds it), but not a power cut.
	SyncWrites bool `yaml:"sync_writes"`
	// CleanInterval is how often retention is applied.
	CleanInterval time.Duration `yaml:"clean_interval"`

	Logger *slog.Logger `yaml:"-"`
	// Ready is called once with the advertised address when clients can connect.
	Ready func(addr string) `yaml:"-"`
}

// DefaultBrokerConfig listens on the port every Kafka client tries first, on this machine only.
func DefaultBrokerConfig() BrokerConfig {
	return BrokerConfig{Listen: "127.0.0.1:9092", CleanInterval: 30 * time.Second}
}

// Validate reports every fault of the configuration at once.
func (c BrokerConfig) Validate() error {
	var errs []error
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		errs = append(errs, fmt.Errorf("broker listen %q: want host:port: %w", c.Listen, err))
	}
	if c.Advertise == "" && err == nil && isWildcard(host) {
		errs = append(errs, fmt.Errorf("broker listen %q is a wildcard: set advertise to an address that clients can dial", c.Listen))
	}
	if c.Advertise != "" {
		if h, p, err := net.SplitHostPort(c.Advertise); err != nil || h == "" || p == "0" {
			errs = append(errs, fmt.Errorf("broker advertise %q: want host:port", c.Advertise))
		}
	}
	if c.CleanInterval <= 0 {
		errs = append(errs, fmt.Errorf("broker clean_interval %s: must be positive", c.CleanInterval))
	}
	return errors.Join(errs...)
}

func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || (ip != nil && ip.IsUnspecified())
}

// Broker is a running embedded broker. It is for one machine: one node, no replication.
type Broker struct {
	addr    string
	cluster *kfake.Cluster
}

// StartBroker listens and loads what DataDir holds. The caller closes it.
func StartBroker(ctx context.Context, cfg BrokerConfig) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for kafka clients on %s: %w", cfg.Listen, err)
	}
	addr := cfg.Advertise
	if addr == "" {
		addr = listener.Addr().String()
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("foreshadow-embedded"),
		kfake.ListenFn(func(string, string) (net.Listener, error) {
			return advertised{Listener: listener, addr: advertisedAddr(addr)}, nil
		}),
		// The cleaner's own default is an hour: a demo would fill the disk between two runs of it.
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms":     strconv.FormatInt(cfg.CleanInterval.Milliseconds(), 10),
			"default.replication.factor": "1",
			"min.insync.replicas":        "1",
		}),
		kfake.WithLogger(brokerLogger{cfg.Logger}),
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	if cfg.SyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded broker on %s: %w", cfg.Listen, err), ignoreClosed(listener.Close()))
	}
	return &Broker{addr: addr, cluster: cluster}, nil
}

// Addr is the host:port that clients dial.
func (b *Broker) Addr() string { return b.addr }

// Close saves the state and ends the broker.
func (b *Broker) Close() { b.cluster.Close() }

// RunBroker serves until ctx ends. It returns nil on a clean stop.
func RunBroker(ctx context.Context, cfg BrokerConfig) error {
	broker, err := StartBroker(ctx, cfg)
	if err != nil {
		return err
	}
	defer broker.Close()
	if cfg.Ready != nil {
		cfg.Ready(broker.Addr())
	}
	<-ctx.Done()
	return nil
}

// advertised answers metadata requests with an address other than the one listened on: the broker takes the
// address it hands to clients from its listener.
type advertised struct {
	net.Listener
	addr net.Addr
}

func (a advertised) Addr() net.Addr { return a.addr }

type advertisedAddr string

func (advertisedAddr) Network() string  { return "tcp" }
func (a advertisedAddr) String() string { return string(a) }

// brokerLogger passes on warnings and errors; the broker's lower levels speak per request.
type brokerLogger struct{ logger *slog.Logger }

func (l brokerLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	if l.logger == nil || level > kfake.LogLevelWarn {
		return
	}
	l.logger.Warn("embedded broker", "reason", fmt.Sprintf(format, args...))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
