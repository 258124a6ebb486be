package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
)

// PublisherConfig says what a Publisher writes where, and how much it may hold.
type PublisherConfig struct {
	Kafka Config
	Topic string
	// Source is the CloudEvents source of every event.
	Source string
	// QueueBytes bounds the messages held, those in flight included. Above it the newest are dropped.
	QueueBytes int
	// MaxMessageBytes bounds one encoded message.
	MaxMessageBytes int
	// Linger is how long the first message of a quiet queue waits for company. kafka-go's own default is a second.
	Linger time.Duration
	// DrainTimeout is how long Run goes on publishing after its context has ended.
	DrainTimeout time.Duration

	// Registerer receives the metrics; nil means none. One Publisher per topic and registry.
	Registerer prometheus.Registerer
	// Logger may be nil.
	Logger *slog.Logger
	// Now stamps events that bring no time of their own; nil means time.Now.
	Now func() time.Time
}

// DefaultPublisherConfig holds up to 64 MiB and drains for 5 s.
func DefaultPublisherConfig() PublisherConfig {
	return PublisherConfig{
		Kafka:           Default(),
		QueueBytes:      64 << 20,
		MaxMessageBytes: 900 << 10,
		Linger:          5 * time.Millisecond,
		DrainTimeout:    5 * time.Second,
	}
}

// Validate reports every fault of the configuration at once.
func (c PublisherConfig) Validate() error {
	errs := []error{c.Kafka.Validate()}
	if c.Topic == "" {
		errs = append(errs, errors.New("publisher topic: is empty"))
	}
	if err := checkHeaderValue([]byte(c.Source)); c.Source == "" || err != nil {
		errs = append(errs, fmt.Errorf("publisher source %q: want 1 to %d printable bytes", c.Source, maxHeaderValue))
	}
	if c.MaxMessageBytes <= 0 || c.QueueBytes < c.MaxMessageBytes+recordOverhead {
		errs = append(errs, fmt.Errorf("publisher queue_bytes %d: must hold at least one message of max_message_bytes %d", c.QueueBytes, c.MaxMessageBytes))
	}
	if c.Linger < 0 || c.DrainTimeout < 0 {
		errs = append(errs, errors.New("publisher linger and drain_timeout: must not be negative"))
	}
	return errors.Join(errs...)
}

// Publisher writes messages of one type to one topic without ever making the caller wait. See doc.go.
type Publisher[M proto.Message] struct {
	cfg        PublisherConfig
	producerID string
	sender     *Sender
	queue      *queue
}

// NewPublisher does no network I/O. The queue takes messages at once; they leave it while Run runs.
func NewPublisher[M proto.Message](cfg PublisherConfig) (*Publisher[M], error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	sender, err := NewSender(cfg.Kafka, cfg.Logger)
	if err != nil {
		return nil, err
	}
	p := &Publisher[M]{cfg: cfg, producerID: rand.Text(), sender: sender, queue: newQueue(cfg.QueueBytes)}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(newPublisherCollector(cfg.Topic, p.queue)); err != nil {
			return nil, fmt.Errorf("register metrics of the publisher to %s: %w", cfg.Topic, err)
		}
	}
	return p, nil
}

// Event is a message with what an observer knows about it.
type Event[M proto.Message] struct {
	Key     string
	Message M
	// Time is when it happened; zero means now.
	Time time.Time
	// Traceparent is the W3C trace context of what caused it, or empty.
	Traceparent string
}

// Publish offers a message that happened now. See PublishEvent.
func (p *Publisher[M]) Publish(key string, message M) bool {
	return p.PublishEvent(Event[M]{Key: key, Message: message})
}

// PublishEvent queues an event and returns at once. It reports false when the event was dropped, which the ledger
// has then counted with its reason. The message is encoded before the return and may be changed afterwards.
func (p *Publisher[M]) PublishEvent(e Event[M]) bool {
	m := e.Message.ProtoReflect()
	if !m.IsValid() {
		p.queue.drop(ReasonEncode)
		return false
	}
	value, err := proto.Marshal(e.Message)
	if err != nil {
		p.queue.drop(ReasonEncode)
		return false
	}
	if len(value)+len(e.Key) > p.cfg.MaxMessageBytes {
		p.queue.drop(ReasonTooLarge)
		return false
	}
	meta := Meta{
		Type: string(m.Descriptor().FullName()), Source: p.cfg.Source, Time: e.Time,
		ProducerID: p.producerID, Traceparent: e.Traceparent,
	}
	if meta.Time.IsZero() {
		meta.Time = p.cfg.Now()
	}
	if checkHeaderValue([]byte(e.Traceparent)) != nil {
		meta.Traceparent = "" // a trace is not worth an event
	}
	return p.queue.offer(newOutgoing(RawMessage{Topic: p.cfg.Topic, Key: e.Key, Value: value, Meta: meta}))
}

// ProducerID is this run's producer id.
func (p *Publisher[M]) ProducerID() string { return p.producerID }

// Ledger is the account of all messages offered so far.
func (p *Publisher[M]) Ledger() Ledger {
	ledger, _ := p.queue.snapshot()
	return ledger
}

// Flush waits until every message accepted before the call is published or dropped. It needs Run to be running.
func (p *Publisher[M]) Flush(ctx context.Context) error {
	if err := p.queue.flush(ctx); err != nil {
		return fmt.Errorf("flush %s: %w", p.cfg.Topic, err)
	}
	return nil
}

// Run publishes until ctx ends, then goes on for up to DrainTimeout and drops the rest. It is called once.
func (p *Publisher[M]) Run(ctx context.Context) error {
	defer p.sender.Close()
	defer p.queue.close(ReasonShutdown)
	sendCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		if sleep(sendCtx, p.cfg.DrainTimeout) == nil {
			stop()
		}
	})()
	for {
		chunk := p.next(ctx)
		if len(chunk) == 0 {
			return nil
		}
		// An error means that the drain has timed out: what is not done is dropped.
		err := p.sender.send(sendCtx, chunk)
		p.queue.settle(chunk, ReasonShutdown)
		if err != nil {
			return nil
		}
	}
}

// next waits for messages. It returns none only when ctx has ended and the queue is empty.
func (p *Publisher[M]) next(ctx context.Context) []*outgoing {
	for {
		if waiting := p.queue.waiting(); waiting > 0 {
			// A message that comes alone waits a moment, so that no request carries a single message while
			// others are on their way.
			if waiting < sliceRecords && ctx.Err() == nil {
				_ = sleep(ctx, p.cfg.Linger) // ending early only means that the drain has begun
			}
			return p.queue.take(chunkRecords, chunkBytes)
		}
		select {
		case <-p.queue.wake:
		case <-ctx.Done():
			return p.queue.take(chunkRecords, chunkBytes)
		}
	}
}

// A chunk holds a slice for several partitions.
const (
	chunkRecords = parallelPartitions * sliceRecords
	chunkBytes   = parallelPartitions * sliceBytes
)
