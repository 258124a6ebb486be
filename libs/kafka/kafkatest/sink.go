// Package kafkatest is the harness for tests of code that consumes or publishes: a Sink that keeps results and
// offsets together in memory, with the same compare-and-set as a database, and a broker that can be restarted.
package kafkatest

import (
	"context"
	"slices"
	"sync"

	"github.com/foreshadow/foreshadow/libs/kafka"
)

type partition struct {
	topic string
	id    int
}

// Sink is a kafka.Sink in memory. It commits a chunk's records and offset together, refuses a chunk whose From is
// not the stored offset, and leaves out copies by sequence.
type Sink struct {
	// Before, when set, is called ahead of each commit and outside of the transaction; its error is HandleChunk's.
	Before func(context.Context, kafka.Chunk) error

	mu      sync.Mutex
	offsets map[partition]int64
	records []kafka.Record
	dedup   *kafka.Dedup
	copies  int
	changed chan struct{}
}

// NewSink makes an empty sink: every partition starts at the earliest offset.
func NewSink() *Sink {
	return &Sink{offsets: map[partition]int64{}, dedup: kafka.NewDedup(1 << 16), changed: make(chan struct{})}
}

// LoadOffset implements kafka.Sink.
func (s *Sink) LoadOffset(_ context.Context, topic string, id int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offset(partition{topic, id}), nil
}

func (s *Sink) offset(p partition) int64 {
	if offset, ok := s.offsets[p]; ok {
		return offset
	}
	return kafka.OffsetEarliest
}

// SetOffset stores an offset, as another owner of the partition would.
func (s *Sink) SetOffset(topic string, id int, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offsets[partition{topic, id}] = next
}

// HandleChunk implements kafka.Sink.
func (s *Sink) HandleChunk(ctx context.Context, chunk kafka.Chunk) error {
	if s.Before != nil {
		if err := s.Before(ctx, chunk); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := partition{chunk.Topic, chunk.Partition}
	if s.offset(p) != chunk.From {
		return kafka.ErrFenced
	}
	for _, r := range chunk.Records {
		if s.dedup.First(r) {
			s.records = append(s.records, r)
		} else {
			s.copies++
		}
	}
	s.offsets[p] = chunk.Next
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// Records are those committed so far, without copies, in the order of their commits.
func (s *Sink) Records() []kafka.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// Copies counts the records left out because their sequence had been seen.
func (s *Sink) Copies() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copies
}

// Await blocks until n records are committed, or ctx ends.
func (s *Sink) Await(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		have, changed := len(s.records), s.changed
		s.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
