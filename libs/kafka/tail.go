package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// From says where Tail begins. The zero value is Earliest.
type From struct {
	latest bool
	since  time.Time
}

// Earliest begins with the oldest record that the broker has.
func Earliest() From { return From{} }

// Latest begins with the first record written after the start.
func Latest() From { return From{latest: true} }

// Since begins with the first record that the broker dates at or after t.
func Since(t time.Time) From { return From{since: t} }

// TailConfig says what to read.
type TailConfig struct {
	Kafka Config
	Topic string
	From  From
	// CaughtUp, when set, is called once, between two calls of the record function: everything that the topic
	// held when Tail started has been passed on. On an empty topic that is at once.
	CaughtUp func()
	// Logger may be nil.
	Logger *slog.Logger
}

const (
	tailFetchBytes = 1 << 20
	// partitionWatch is how often Tail looks for partitions that were added.
	partitionWatch = 5 * time.Second
)

// Tail passes every record of all partitions of a topic to fn, one call at a time, until ctx ends (it then returns
// nil) or fn returns an error (it then returns that error). It needs no group and stores no offset. Order is kept
// within a partition. While the brokers are away it waits and then goes on where it was; a copy that a producer
// re-sent comes as a copy: see Dedup. A record without a valid envelope is logged and left out.
func Tail(ctx context.Context, cfg TailConfig, fn func(Record) error) error {
	if cfg.Topic == "" {
		return errors.New("tail topic: is empty")
	}
	c, err := newClient(cfg.Kafka)
	if err != nil {
		return err
	}
	defer c.close()
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	t := &tailer{cfg: cfg, client: c, logger: logger.With("topic", cfg.Topic), fn: fn, group: group, behind: map[int]struct{}{}}
	group.Go(func() error { return t.watch(groupCtx) })
	err = group.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

type tailer struct {
	cfg    TailConfig
	client *client
	logger *slog.Logger
	group  *errgroup.Group

	mu     sync.Mutex // serialises fn and CaughtUp
	fn     func(Record) error
	behind map[int]struct{} // partitions that have not reached the end they had at the start
}

// watch starts a reader for each partition, also for those that are added later.
func (t *tailer) watch(ctx context.Context) error {
	known := 0
	for attempt := 0; ; attempt++ {
		partitions, err := t.client.partitions(ctx, t.cfg.Topic)
		pause := partitionWatch
		switch {
		case err != nil:
			if attempt == 0 && ctx.Err() == nil {
				t.logger.Warn("tail stalled, retrying", "err", err)
			}
			pause = backoff(attempt)
		case known == 0:
			attempt = -1
			t.mu.Lock()
			for _, p := range partitions {
				t.behind[p] = struct{}{}
			}
			t.mu.Unlock()
			for _, p := range partitions {
				t.group.Go(func() error { return t.read(ctx, p, t.cfg.From) })
			}
			known = len(partitions)
		default:
			attempt = -1
			for _, p := range partitions[min(known, len(partitions)):] {
				// All of it is new since the start, whatever From says.
				t.group.Go(func() error { return t.read(ctx, p, Earliest()) })
			}
			known = max(known, len(partitions))
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// read passes on one partition.
func (t *tailer) read(ctx context.Context, partition int, from From) error {
	f := &fetcher{client: t.client, topic: t.cfg.Topic, partition: partition, maxBytes: tailFetchBytes}
	offset, end, err := t.start(ctx, f, from)
	if err != nil {
		return err
	}
	for attempt := 0; ; {
		if offset >= end {
			t.reached(partition)
		}
		got, err := f.fetch(ctx, offset)
		if err == nil {
			attempt = 0
			if err := t.pass(f, got.records); err != nil {
				return err
			}
			offset = got.next
			continue
		}
		if attempt == 0 && ctx.Err() == nil {
			t.logger.Warn("tail stalled, retrying", "partition", partition, "offset", offset, "err", err)
		}
		if err := sleep(ctx, backoff(attempt)); err != nil {
			return err
		}
		attempt++
		if errors.Is(err, kafkago.OffsetOutOfRange) {
			lost := offset
			if offset, end, err = t.start(ctx, f, Earliest()); err != nil {
				return err
			}
			t.logger.Error("records are gone from the broker, continuing with the oldest", "partition", partition, "offset", lost, "first_offset", offset)
		}
	}
}

// start finds the first offset and the end, trying until ctx ends.
func (t *tailer) start(ctx context.Context, f *fetcher, from From) (offset, end int64, err error) {
	for attempt := 0; ; attempt++ {
		// The end is read first: records that come between the two requests are beyond it.
		if end, err = f.end(ctx); err == nil {
			switch {
			case from.latest:
				return end, end, nil
			case !from.since.IsZero():
				offset, err = f.since(ctx, from.since, end)
			default:
				offset, err = f.first(ctx)
			}
			if err == nil {
				return offset, end, nil
			}
		}
		if attempt == 0 && ctx.Err() == nil {
			t.logger.Warn("tail stalled, retrying", "partition", f.partition, "err", err)
		}
		if err := sleep(ctx, backoff(attempt)); err != nil {
			return 0, 0, fmt.Errorf("find where to start: %w", err)
		}
	}
}

func (t *tailer) pass(f *fetcher, records []wireRecord) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range records {
		record, err := f.parse(w)
		if err != nil {
			t.logger.Warn("record without a valid envelope left out", "partition", f.partition, "offset", w.offset, "err", err)
			continue
		}
		if err := t.fn(record); err != nil {
			return err
		}
	}
	return nil
}

// reached notes that a partition has caught up, and tells the caller when it was the last.
func (t *tailer) reached(partition int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, waiting := t.behind[partition]; !waiting {
		return
	}
	delete(t.behind, partition)
	if len(t.behind) == 0 && t.cfg.CaughtUp != nil {
		t.cfg.CaughtUp()
	}
}
