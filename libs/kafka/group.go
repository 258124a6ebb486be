package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
)

// groupSink keeps the offsets in Kafka's group, for one generation.
type groupSink struct {
	generation *kafkago.Generation
	handle     func(context.Context, []Record) error

	mu      sync.Mutex
	next    map[partitionKey]int64 // committed
	handled map[partitionKey]int64 // handled, perhaps not committed yet
}

func newGroupSink(g *kafkago.Generation, handle func(context.Context, []Record) error) *groupSink {
	s := &groupSink{generation: g, handle: handle, next: map[partitionKey]int64{}, handled: map[partitionKey]int64{}}
	for topic, assignments := range g.Assignments {
		for _, a := range assignments {
			offset := a.Offset
			if offset < 0 {
				offset = OffsetEarliest
			}
			s.next[partitionKey{topic, a.ID}] = offset
		}
	}
	return s
}

func (s *groupSink) LoadOffset(_ context.Context, topic string, partition int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next[partitionKey{topic, partition}], nil
}

func (s *groupSink) HandleChunk(ctx context.Context, chunk Chunk) error {
	key := partitionKey{chunk.Topic, chunk.Partition}
	s.mu.Lock()
	done := s.handled[key] == chunk.Next
	s.mu.Unlock()
	// A commit that failed is tried again alone: the records were handled.
	if !done {
		if len(chunk.Records) > 0 {
			if err := s.handle(ctx, chunk.Records); err != nil {
				return err
			}
		}
		s.set(s.handled, key, chunk.Next)
	}
	err := s.generation.CommitOffsets(map[string]map[int]int64{chunk.Topic: {chunk.Partition: chunk.Next}})
	if generationOver(err) {
		// The next heartbeat learns the same and ends the generation. To go on until then would only handle
		// records a second time.
		<-ctx.Done()
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("commit offset %d of %s/%d: %w", chunk.Next, chunk.Topic, chunk.Partition, err)
	}
	s.set(s.next, key, chunk.Next)
	return nil
}

func (s *groupSink) set(offsets map[partitionKey]int64, key partitionKey, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	offsets[key] = next
}

func generationOver(err error) bool {
	return errors.Is(err, kafkago.IllegalGeneration) || errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.RebalanceInProgress)
}
