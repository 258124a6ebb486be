package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
)

// ConsumerConfig says which topics a group of consumers shares.
type ConsumerConfig struct {
	Kafka  Config
	Group  string
	Topics []string
	// FetchBytes bounds a chunk; a single larger batch still comes whole.
	FetchBytes int
	// Exclusive gives all partitions to one member of the group; the others are in reserve, and one of them takes over when that
	// member leaves or was silent for 8 s. Otherwise all members share them. All members of a group must ask for the same.
	Exclusive bool
	// Assigned, when set, is told how many partitions this member has: at the beginning of each generation of the group, which may
	// be the same as before, and 0 when it leaves, or when it has lost the group for so long that they may be another's. It is
	// called before the first record of a generation comes, one call at a time, and must not wait.
	Assigned func(partitions int)

	// Registerer receives the metrics; nil means none. One Consumer per group and registry.
	Registerer prometheus.Registerer
	// Logger may be nil.
	Logger *slog.Logger
}

// DefaultConsumerConfig reads chunks of up to 1 MiB.
func DefaultConsumerConfig() ConsumerConfig {
	return ConsumerConfig{Kafka: Default(), FetchBytes: 1 << 20}
}

// Validate reports every fault of the configuration at once.
func (c ConsumerConfig) Validate() error {
	errs := []error{c.Kafka.Validate()}
	if c.Group == "" {
		errs = append(errs, errors.New("consumer group: is empty"))
	}
	if len(c.Topics) == 0 || slices.Contains(c.Topics, "") {
		errs = append(errs, errors.New("consumer topics: want at least one, none of them empty"))
	}
	if c.FetchBytes <= 0 {
		errs = append(errs, fmt.Errorf("consumer fetch_bytes %d: must be positive", c.FetchBytes))
	}
	return errors.Join(errs...)
}

// Consumer reads its share of the partitions and hands chunks to a sink. See doc.go.
type Consumer struct {
	cfg     ConsumerConfig
	logger  *slog.Logger
	metrics *consumerMetrics
	client  *client
	dlq     *Sender
	// sinkOf gives the sink for one generation of the group.
	sinkOf    func(*kafkago.Generation) Sink
	assigned  *assigned
	exclusive *exclusive
}

// NewConsumer makes the exactly-once consumer: membership from Kafka, offsets from sink. It does no network I/O.
func NewConsumer(cfg ConsumerConfig, sink Sink) (*Consumer, error) {
	return newConsumer(cfg, func(*kafkago.Generation) Sink { return sink })
}

// NewGroupReader makes an at-least-once consumer with its offsets in Kafka: handle may see a record again after a
// crash or a rebalance, and is called for several partitions at once. Poison is reported as with Sink.HandleChunk.
func NewGroupReader(cfg ConsumerConfig, handle func(context.Context, []Record) error) (*Consumer, error) {
	return newConsumer(cfg, func(g *kafkago.Generation) Sink { return newGroupSink(g, handle) })
}

func newConsumer(cfg ConsumerConfig, sinkOf func(*kafkago.Generation) Sink) (*Consumer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := newClient(cfg.Kafka)
	if err != nil {
		return nil, err
	}
	metrics, err := newConsumerMetrics(cfg.Group, cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register metrics of consumer group %s: %w", cfg.Group, err)
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Consumer{
		cfg: cfg, logger: logger.With("group", cfg.Group), metrics: metrics, client: c,
		dlq: &Sender{client: c, logger: logger}, sinkOf: sinkOf, assigned: newAssigned(cfg.Assigned), exclusive: &exclusive{},
	}, nil
}

// leaveTimeout bounds the goodbye to the group. A member that waits in JoinGroup cannot be interrupted otherwise,
// and without the goodbye the broker only waits for the session to end.
const leaveTimeout = 3 * time.Second

// Run consumes until ctx ends, and returns nil then. Unreachable brokers are waited for. It is called once.
func (c *Consumer) Run(ctx context.Context) error {
	defer c.client.close()
	group, err := kafkago.NewConsumerGroup(c.groupConfig())
	if err != nil {
		return fmt.Errorf("join consumer group %s: %w", c.cfg.Group, err)
	}
	closed := make(chan struct{})
	defer func() { <-closed }()
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(closed)
		<-runCtx.Done()
		c.assigned.leave() // before another may have them
		timer := time.AfterFunc(leaveTimeout, c.client.close)
		defer timer.Stop()
		_ = group.Close() // always nil
	}()
	stalled := false
	for {
		generation, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if fatalGroupError(err) {
				return c.client.explain("join consumer group "+c.cfg.Group, err)
			}
			if !stalled {
				c.logger.Warn("consumer group stalled, retrying", "err", err)
			}
			stalled = true
		default:
			stalled = false
			c.startGeneration(generation)
		}
	}
}

// fatalGroupError tells what no retry can mend. Members that assign in another way can: they are of an earlier release, and leave.
func fatalGroupError(err error) bool {
	for _, code := range []kafkago.Error{
		kafkago.GroupAuthorizationFailed, kafkago.TopicAuthorizationFailed, kafkago.SASLAuthenticationFailed,
		kafkago.InvalidSessionTimeout, kafkago.InvalidGroupId,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// sessionTimeout is how long the partitions of a killed consumer wait for a new owner; 30 s by default.
const sessionTimeout = 8 * time.Second

func (c *Consumer) groupConfig() kafkago.ConsumerGroupConfig {
	var balancers []kafkago.GroupBalancer // kafka-go's own, unless told otherwise
	if c.cfg.Exclusive {
		balancers = append(balancers, c.exclusive)
	}
	return kafkago.ConsumerGroupConfig{
		GroupBalancers: balancers,
		ID:             c.cfg.Group, Brokers: c.cfg.Kafka.Brokers, Dialer: c.client.dialer, Topics: c.cfg.Topics,
		// A member learns of a rebalance by its heartbeat only, so the default of 3 s is 3 s without an owner.
		HeartbeatInterval: time.Second,
		SessionTimeout:    sessionTimeout,
		// A rebalance waits this long for a member that hangs; 30 s by default.
		RebalanceTimeout: 8 * time.Second,
		// The pause after each failed attempt to join; 5 s by default, of which a restart sees several.
		JoinGroupBackoff:      500 * time.Millisecond,
		WatchPartitionChanges: true,
		StartOffset:           kafkago.FirstOffset,
		Timeout:               c.cfg.Kafka.RequestTimeout,
	}
}

// startGeneration starts one loop per assigned partition. kafka-go ends the generation as soon as one of its
// functions returns, and waits for all of them: a loop returns only when its context has ended.
func (c *Consumer) startGeneration(g *kafkago.Generation) {
	sink := c.sinkOf(g)
	count := 0
	for _, assignments := range g.Assignments {
		count += len(assignments)
	}
	c.exclusive.begins(g.ID, count)
	c.assigned.begins(g.ID, count)
	g.Start(func(ctx context.Context) {
		<-ctx.Done()
		c.assigned.ends(g.ID)
	})
	c.metrics.lag.Reset() // a partition that has moved away is no longer this member's to report
	for topic, assignments := range g.Assignments {
		for _, a := range assignments {
			loop := &partitionLoop{
				consumer: c, sink: sink,
				fetcher: fetcher{client: c.client, topic: topic, partition: a.ID, maxBytes: c.cfg.FetchBytes},
				logger:  c.logger.With("topic", topic, "partition", a.ID),
			}
			g.Start(func(ctx context.Context) {
				// The generation's own context is not one of the standard library; a child is, with its errors.
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				loop.run(ctx)
			})
		}
	}
	c.logger.Info("partitions assigned", "generation", g.ID, "partitions", count)
}
