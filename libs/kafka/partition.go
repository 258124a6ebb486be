package kafka

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
)

// partitionLoop is the consumption of one partition during one generation.
type partitionLoop struct {
	consumer *Consumer
	sink     Sink
	fetcher  fetcher
	logger   *slog.Logger
}

// run goes on until ctx ends: load the offset, read and handle from there, and begin again when fenced.
func (l *partitionLoop) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		if attempt > 0 && sleep(ctx, backoff(attempt-1)) != nil {
			return
		}
		stored, err := l.sink.LoadOffset(ctx, l.fetcher.topic, l.fetcher.partition)
		if err != nil {
			l.retrying(ctx, "load offset", err)
			continue
		}
		offset, err := l.fetcher.resolve(ctx, stored)
		if err != nil {
			l.retrying(ctx, "resolve offset", err)
			continue
		}
		moved, err := l.consume(ctx, stored, offset)
		if errors.Is(err, ErrFenced) {
			l.consumer.metrics.fenced.WithLabelValues(l.fetcher.topic).Inc()
			l.logger.Warn("offset was moved by another owner, reloading", "offset", stored)
		}
		if moved {
			attempt = -1 // fenced after progress is news, not a repeated failure
		}
	}
}

func (l *partitionLoop) retrying(ctx context.Context, step string, err error) {
	if ctx.Err() == nil {
		l.logger.Warn("partition stalled, retrying", "reason", step, "err", err)
	}
}

// consume handles chunk after chunk, one in flight. stored is what the sink has, offset where to read. It returns
// when ctx ends or the sink is fenced, and says whether any chunk was committed.
func (l *partitionLoop) consume(ctx context.Context, stored, offset int64) (moved bool, err error) {
	for attempt := 0; ctx.Err() == nil; {
		got, err := l.fetcher.fetch(ctx, offset)
		switch {
		case err == nil:
			attempt = 0
		case errors.Is(err, kafkago.OffsetOutOfRange):
			if offset, err = l.reset(ctx, offset); err != nil {
				l.retrying(ctx, "reset offset", err)
			}
			fallthrough
		default:
			if err != nil && attempt == 0 {
				l.retrying(ctx, "fetch", err)
			}
			if sleep(ctx, backoff(attempt)) != nil {
				return moved, ctx.Err()
			}
			attempt++
			continue
		}
		if got.next > offset {
			if err := l.deliver(ctx, stored, got); err != nil {
				return moved, err
			}
			stored, offset, moved = got.next, got.next, true
		}
		l.consumer.metrics.lag.WithLabelValues(l.fetcher.topic, strconv.Itoa(l.fetcher.partition)).
			Set(float64(max(0, got.highWatermark-offset)))
	}
	return moved, ctx.Err()
}

// reset answers an offset that the broker does not have: retention has deleted it, or the broker has lost its log.
// What is left is read from its beginning; records seen before are the sink's to recognise by sequence.
func (l *partitionLoop) reset(ctx context.Context, lost int64) (int64, error) {
	first, err := l.fetcher.first(ctx)
	if err != nil {
		return lost, err
	}
	l.consumer.metrics.resets.WithLabelValues(l.fetcher.topic).Inc()
	l.logger.Error("stored offset is gone from the broker, starting from the oldest record", "offset", lost, "first_offset", first)
	return first, nil
}

// deliver hands a chunk to the sink until it is committed, or ctx ends, or the sink is fenced.
func (l *partitionLoop) deliver(ctx context.Context, stored int64, got fetched) error {
	chunk := Chunk{Topic: l.fetcher.topic, Partition: l.fetcher.partition, From: stored, Next: got.next}
	var letters []deadLetter
	for _, w := range got.records {
		record, err := l.fetcher.parse(w)
		if err != nil {
			letters = append(letters, deadLetter{record: record, reason: err.Error()})
			continue
		}
		chunk.Records = append(chunk.Records, record)
	}
	for attempt := 0; ; attempt++ {
		err := l.setAside(ctx, letters)
		if err == nil {
			letters = nil
			err = l.sink.HandleChunk(ctx, chunk)
		}
		var poison *PoisonError
		switch {
		case err == nil:
			l.consumer.metrics.consumed.WithLabelValues(chunk.Topic).Add(float64(len(chunk.Records)))
			return nil
		case errors.Is(err, ErrFenced) || ctx.Err() != nil:
			return err
		case errors.As(err, &poison):
			if chunk.Records, letters = split(chunk.Records, poison); len(letters) > 0 {
				attempt = -1 // the next attempt is with another chunk
				continue
			}
		}
		l.consumer.metrics.retries.WithLabelValues(chunk.Topic).Inc()
		if attempt == 0 {
			l.logger.Warn("chunk not handled, retrying", "offset", chunk.From, "err", err)
		}
		if err := sleep(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

func (l *partitionLoop) setAside(ctx context.Context, letters []deadLetter) error {
	if len(letters) == 0 {
		return nil
	}
	if err := l.consumer.dlq.setAside(ctx, l.consumer.cfg.Group, letters); err != nil {
		return err
	}
	l.consumer.metrics.deadLettered.WithLabelValues(l.fetcher.topic).Add(float64(len(letters)))
	l.logger.Warn("records set aside in the dead letter topic",
		"offset", letters[0].record.Offset, "records", len(letters), "reason", letters[0].reason)
	return nil
}

// split takes the poison out of records.
func split(records []Record, poison *PoisonError) ([]Record, []deadLetter) {
	reasons := make(map[int64]string, len(poison.Records))
	for _, p := range poison.Records {
		reasons[p.Offset] = p.Reason
	}
	var letters []deadLetter
	kept := slices.DeleteFunc(slices.Clone(records), func(r Record) bool {
		reason, bad := reasons[r.Offset]
		if bad {
			letters = append(letters, deadLetter{record: r, reason: reason})
		}
		return bad
	})
	return kept, letters
}
