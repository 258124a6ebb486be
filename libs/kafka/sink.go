package kafka

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Sink is where a Consumer's chunks go: a database that holds the results and the offsets together. It is called
// for several partitions at once, and for each partition with one chunk at a time.
type Sink interface {
	// LoadOffset returns the offset to read next, or OffsetEarliest (or OffsetLatest) when none is stored.
	LoadOffset(ctx context.Context, topic string, partition int) (next int64, err error)
	// HandleChunk commits the chunk's results and the offset, from Chunk.From to Chunk.Next by compare-and-set,
	// in ONE transaction. It returns ErrFenced when the stored offset was not From, a *PoisonError when records
	// can never be handled, and nil only after the commit. After any other error the same chunk comes again.
	HandleChunk(ctx context.Context, chunk Chunk) error
}

// ErrFenced says that the stored offset is not where this consumer left it: another one has moved it.
var ErrFenced = errors.New("stored offset was moved by another owner")

// Poison is a record that can never be handled.
type Poison struct {
	Offset int64
	Reason string
}

// PoisonError is returned by HandleChunk, with nothing committed. The consumer writes the records to the DLQ and
// then hands over the chunk again without them.
type PoisonError struct{ Records []Poison }

func (e *PoisonError) Error() string {
	return fmt.Sprintf("%d records can never be handled, the first at offset %d: %s", len(e.Records), e.Records[0].Offset, e.Records[0].Reason)
}

// DecodeAll decodes every record of a chunk with newMessage, in order. Its error is a *PoisonError that HandleChunk
// returns as it is.
func DecodeAll[M proto.Message](chunk Chunk, newMessage func() M) ([]M, error) {
	messages := make([]M, 0, len(chunk.Records))
	var poison []Poison
	for _, r := range chunk.Records {
		m := newMessage()
		if err := r.Decode(m); err != nil {
			poison = append(poison, Poison{Offset: r.Offset, Reason: err.Error()})
			continue
		}
		messages = append(messages, m)
	}
	if len(poison) > 0 {
		return nil, &PoisonError{Records: poison}
	}
	return messages, nil
}
