package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// RawMessage is an event that is already encoded, as an outbox table keeps it.
type RawMessage struct {
	Topic string
	// Key chooses the partition. Empty means any partition.
	Key   string
	Value []byte
	Meta  Meta
}

// Rejected is a message that the broker will never take.
type Rejected struct {
	// Index is the message's place in the slice that was sent.
	Index  int
	Reason string
	Err    error
}

// RejectedError reports the messages of a slice that can never be published. All others were published.
type RejectedError struct{ Messages []Rejected }

func (e *RejectedError) Error() string {
	first := e.Messages[0]
	return fmt.Sprintf("publish messages: %d rejected, the first (index %d) as %s: %v", len(e.Messages), first.Index, first.Reason, first.Err)
}

// Unwrap gives the cause of the first rejection.
func (e *RejectedError) Unwrap() error { return e.Messages[0].Err }

const (
	// sliceBytes is the most that one produce request carries for a partition. Brokers refuse record batches
	// above 1 MiB unless told otherwise, and a batch has overhead.
	sliceBytes   = 512 << 10
	sliceRecords = 2000
	// recordOverhead is what headers and bookkeeping cost for each record, roughly and rounded up.
	recordOverhead = 512
	// parallelPartitions bounds the connections that one slice opens.
	parallelPartitions = 4
)

// Sender publishes encoded messages synchronously. It is safe for concurrent use, but order is kept only among
// the messages of one call.
type Sender struct {
	client *client
	logger *slog.Logger
}

// NewSender does no network I/O. A nil logger is silent. The caller closes the Sender.
func NewSender(cfg Config, logger *slog.Logger) (*Sender, error) {
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Sender{client: c, logger: logger}, nil
}

// Close ends the connections.
func (s *Sender) Close() { s.client.close() }

// SendRaw publishes a slice and returns when every message is acknowledged by all in-sync replicas. While the
// brokers cannot be reached it retries, until ctx ends. After an error other than *RejectedError the caller sends
// the same slice again, with the same ids: what was published already is then published twice, which readers
// remove by sequence.
func (s *Sender) SendRaw(ctx context.Context, messages []RawMessage) error {
	batch := make([]*outgoing, len(messages))
	for i, m := range messages {
		if err := m.Meta.validate(); err != nil {
			return fmt.Errorf("publish message %d to %s: %w", i, m.Topic, err)
		}
		batch[i] = newOutgoing(m)
	}
	if err := s.send(ctx, batch); err != nil {
		return err
	}
	var rejected []Rejected
	for i, o := range batch {
		if o.rejected != nil {
			rejected = append(rejected, Rejected{Index: i, Reason: o.reason, Err: o.rejected})
		}
	}
	if len(rejected) > 0 {
		return &RejectedError{Messages: rejected}
	}
	return nil
}

// outgoing is a message on its way, and what has become of it.
type outgoing struct {
	topic   string
	key     []byte
	value   []byte
	meta    Meta
	headers []kafkago.Header // when set, used instead of meta's

	partition int // -1 until chosen
	done      bool
	reason    string
	rejected  error
}

const noPartition = -1

func newOutgoing(m RawMessage) *outgoing {
	o := &outgoing{topic: m.Topic, value: m.Value, meta: m.Meta, partition: noPartition}
	if m.Key != "" {
		o.key = []byte(m.Key)
	}
	return o
}

func (o *outgoing) size() int { return len(o.key) + len(o.value) + recordOverhead }

func (o *outgoing) reject(reason string, err error) { o.done, o.reason, o.rejected = true, reason, err }

func (o *outgoing) record() kafkago.Record {
	headers := o.headers
	if headers == nil {
		headers = o.meta.headers()
	}
	return kafkago.Record{Time: o.meta.Time, Key: kafkago.NewBytes(o.key), Value: kafkago.NewBytes(o.value), Headers: headers}
}

// send returns nil when every message is done: acknowledged or rejected. It returns an error only when ctx ended
// first; the messages that are not done then may or may not have been written.
func (s *Sender) send(ctx context.Context, batch []*outgoing) error {
	for attempt := 0; ; attempt++ {
		err := s.sendOnce(ctx, batch)
		if err == nil {
			if attempt > 0 {
				s.logger.Info("publishing resumed", "topic", batch[0].topic)
			}
			return nil
		}
		if attempt == 0 && ctx.Err() == nil {
			s.logger.Warn("publishing stalled, retrying", "topic", batch[0].topic, "err", err)
		}
		if sleep(ctx, backoff(attempt)) != nil {
			return fmt.Errorf("publish %d messages: %w (gave up: %w)", len(batch), err, ctx.Err())
		}
	}
}

type partitionKey struct {
	topic     string
	partition int
}

// sendOnce tries what is not done yet, partition by partition.
func (s *Sender) sendOnce(ctx context.Context, batch []*outgoing) error {
	var order []partitionKey
	groups := map[partitionKey][]*outgoing{}
	if err := s.choosePartitions(ctx, batch); err != nil {
		return err
	}
	for _, o := range batch {
		if o.done {
			continue
		}
		key := partitionKey{o.topic, o.partition}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], o)
	}
	// No shared cancellation: one partition's lost leader must not make the others' acknowledgements ambiguous.
	var group errgroup.Group
	group.SetLimit(parallelPartitions)
	for _, key := range order {
		group.Go(func() error { return s.sendPartition(ctx, key, groups[key]) })
	}
	return group.Wait()
}

// balancer is the one Java clients use, so that a key goes to the same partition whoever writes it.
var balancer = kafkago.Murmur2Balancer{}

// choosePartitions decides once for each message: a copy that is re-sent after partitions were added must land
// beside the original, or no reader could tell that it is a copy.
func (s *Sender) choosePartitions(ctx context.Context, batch []*outgoing) error {
	byTopic := map[string][]int{}
	for _, o := range batch {
		if o.partition != noPartition {
			continue
		}
		partitions, known := byTopic[o.topic]
		if !known {
			var err error
			if partitions, err = s.client.partitions(ctx, o.topic); err != nil {
				return err
			}
			byTopic[o.topic] = partitions
		}
		o.partition = balancer.Balance(kafkago.Message{Key: o.key}, partitions...)
	}
	return nil
}

// sendPartition writes the messages of one partition in order, one slice in flight.
func (s *Sender) sendPartition(ctx context.Context, key partitionKey, messages []*outgoing) error {
	for len(messages) > 0 {
		n := sliceLen(messages)
		if err := s.produce(ctx, key, messages[:n]); err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}

func sliceLen(messages []*outgoing) int {
	bytes := 0
	for i, o := range messages {
		bytes += o.size()
		if i == sliceRecords || (i > 0 && bytes > sliceBytes) {
			return i
		}
	}
	return len(messages)
}

// produce writes one slice with acks from all in-sync replicas (kafka-go's zero value asks for none). A slice that
// is too large for the broker is halved until the message that is too large stands alone.
//
// It uses the produce request itself and not kafka-go's Writer: the Writer waits up to BatchTimeout (1 s unless
// set) for a slice to fill, chooses the partition anew for each retry, and when Async has no bound on its queue
// and reports errors only to a callback.
func (s *Sender) produce(ctx context.Context, key partitionKey, slice []*outgoing) error {
	records := make([]kafkago.Record, len(slice))
	for i, o := range slice {
		records[i] = o.record()
	}
	requestCtx, cancel := s.client.request(ctx)
	defer cancel()
	resp, err := s.client.api.Produce(requestCtx, &kafkago.ProduceRequest{
		Topic: key.topic, Partition: key.partition,
		RequiredAcks: kafkago.RequireAll,
		Records:      kafkago.NewRecordReader(records...),
	})
	var faults map[int]error
	if err == nil {
		err, faults = resp.Error, resp.RecordErrors
	}
	switch {
	case err == nil:
		for _, o := range slice {
			o.done = true
		}
		return nil
	case errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge):
		if len(slice) == 1 {
			slice[0].reject(ReasonTooLarge, err)
			return nil
		}
		half := len(slice) / 2
		if err := s.produce(ctx, key, slice[:half]); err != nil {
			return err
		}
		return s.produce(ctx, key, slice[half:])
	case errors.Is(err, kafkago.InvalidRecord) || errors.Is(err, kafkago.InvalidTimestamp) || errors.Is(err, kafkago.UnsupportedForMessageFormat):
		rest := refuse(slice, faults, err)
		if len(rest) == 0 {
			return nil
		}
		return s.produce(ctx, key, rest)
	default:
		return s.client.explain(fmt.Sprintf("publish to %s/%d", key.topic, key.partition), err)
	}
}

// refuse rejects those of a slice that the broker found fault with, and returns the others, which it did not take either. All are
// rejected when it names none, as brokers before 2.4 do.
func refuse(slice []*outgoing, faults map[int]error, err error) (rest []*outgoing) {
	named := false
	for i := range slice {
		_, bad := faults[i]
		named = named || bad
	}
	for i, o := range slice {
		if _, bad := faults[i]; named && !bad {
			rest = append(rest, o)
			continue
		}
		o.reject(ReasonRejected, err)
	}
	return rest
}
