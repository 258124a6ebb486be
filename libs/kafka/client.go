package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// client is one connection pool and everything that must be set on it.
type client struct {
	cfg       Config
	api       *kafkago.Client
	transport *kafkago.Transport
	dialer    *kafkago.Dialer
	conns     *connSet
}

// newClient does no I/O but reading certificate files.
func newClient(cfg Config) (*client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}
	mechanism, err := cfg.saslMechanism()
	if err != nil {
		return nil, err
	}
	conns := &connSet{open: map[*trackedConn]struct{}{}, timeout: cfg.DialTimeout}
	transport := &kafkago.Transport{
		Dial:        conns.dial,
		DialTimeout: cfg.DialTimeout,
		ClientID:    cfg.ClientID,
		TLS:         tlsConfig,
		SASL:        mechanism,
		// After a leader moved, requests go to the old one until the metadata is read again: the default of 6 s
		// is the length of that outage.
		MetadataTTL: 2 * time.Second,
	}
	return &client{
		cfg:       cfg,
		api:       &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Transport: transport},
		transport: transport,
		dialer: &kafkago.Dialer{
			ClientID:      cfg.ClientID,
			DialFunc:      conns.dial,
			Timeout:       cfg.DialTimeout,
			TLS:           tlsConfig,
			SASLMechanism: mechanism,
		},
		conns: conns,
	}, nil
}

// close ends every connection at once. kafka-go only closes idle ones, and a fetch that is waiting for data or a
// member that waits in JoinGroup would hold its connection, and its goroutine, for seconds after a shutdown.
func (c *client) close() {
	c.transport.CloseIdleConnections()
	c.conns.closeAll()
}

func (c *client) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.RequestTimeout)
}

// partitions lists the partitions of a topic, in order and at least one.
func (c *client) partitions(ctx context.Context, topic string) ([]int, error) {
	ctx, cancel := c.request(ctx)
	defer cancel()
	meta, err := c.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, c.explain("read partitions of topic "+topic, err)
	}
	for _, t := range meta.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil {
			return nil, c.explain("read partitions of topic "+topic, t.Error)
		}
		ids := make([]int, len(t.Partitions))
		for i, p := range t.Partitions {
			ids[i] = p.ID
		}
		if len(ids) > 0 {
			return ids, nil
		}
	}
	return nil, c.explain("read partitions of topic "+topic, kafkago.UnknownTopicOrPartition)
}

// explain names the brokers, which kafka-go's errors leave out.
func (c *client) explain(verb string, err error) error {
	return fmt.Errorf("%s at kafka broker %s: %w", verb, strings.Join(c.cfg.Brokers, ","), err)
}

// Ping asks one of the brokers for the cluster's metadata, which proves address, encryption and credentials.
// It tries each address once, within ctx and the configured timeouts, and says in one error what is wrong where.
func Ping(ctx context.Context, cfg Config) error {
	c, err := newClient(cfg)
	if err != nil {
		return err
	}
	defer c.close()
	var errs []error
	for _, broker := range cfg.Brokers {
		err := c.pingOne(ctx, broker)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *client) pingOne(ctx context.Context, broker string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	conn, err := c.dialer.DialContext(ctx, "tcp", broker)
	if err != nil {
		return c.explainDial(broker, err)
	}
	defer conn.Close() // nothing was written that a close could lose
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return c.explainDial(broker, err)
		}
	}
	if _, err := conn.Brokers(); err != nil {
		return fmt.Errorf("read metadata from kafka broker %s (does it speak Kafka, and does it want TLS or SASL?): %w", broker, err)
	}
	return nil
}

func (c *client) explainDial(broker string, err error) error {
	var code kafkago.Error
	if errors.As(err, &code) && (code == kafkago.SASLAuthenticationFailed || code == kafkago.UnsupportedSASLMechanism || code == kafkago.IllegalSASLState) {
		return fmt.Errorf("authenticate to kafka broker %s as user %q with %s: %w", broker, c.cfg.SASL.Username, c.cfg.SASL.Mechanism, err)
	}
	return fmt.Errorf("connect to kafka broker %s: %w", broker, err)
}

// AwaitBroker pings until it succeeds or ctx ends, and then returns the last reason. It is for a stack whose
// broker starts beside it.
func AwaitBroker(ctx context.Context, cfg Config) error {
	for attempt := 0; ; attempt++ {
		err := Ping(ctx, cfg)
		if err == nil || cfg.Validate() != nil {
			return err
		}
		if sleep(ctx, backoff(attempt)) != nil {
			return err
		}
	}
}

// backoff grows from 50 ms to 2 s and is jittered, so that many clients of a restarted broker do not come at once.
func backoff(attempt int) time.Duration {
	limit := min(50*time.Millisecond<<min(attempt, 6), 2*time.Second)
	return limit/2 + rand.N(limit/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// connSet knows the open connections of a client so that they can be closed together.
type connSet struct {
	timeout time.Duration

	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

type trackedConn struct {
	net.Conn
	set *connSet
}

func (s *connSet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: s.timeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{Conn: conn, set: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	s.open[tracked] = struct{}{}
	return tracked, nil
}

func (s *connSet) closeAll() {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = map[*trackedConn]struct{}{}, true
	s.mu.Unlock()
	for conn := range open {
		_ = conn.Conn.Close() // the peer or kafka-go may have closed it first; either way it is gone
	}
}

func (c *trackedConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.open, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}
