package kafka

import (
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"
)

// Record is one event as read from a partition.
type Record struct {
	Meta      Meta
	Topic     string
	Partition int
	Offset    int64
	Key       string
	Value     []byte

	headers []kafkago.Header
}

// Decode fills m from the value. It refuses a record of another type: protobuf would read most bytes as most
// messages.
func (r Record) Decode(m proto.Message) error {
	want := string(m.ProtoReflect().Descriptor().FullName())
	if r.Meta.Type != want {
		return fmt.Errorf("decode record at %s/%d offset %d: type is %q, want %q", r.Topic, r.Partition, r.Offset, r.Meta.Type, want)
	}
	if err := proto.Unmarshal(r.Value, m); err != nil {
		return fmt.Errorf("decode record at %s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	return nil
}

// Chunk is a run of records of one partition that is handled as one transaction.
type Chunk struct {
	Topic     string
	Partition int
	// From is the offset as stored: what LoadOffset returned, OffsetEarliest included, or the Next of the chunk
	// before. It is what the compare-and-set compares.
	From int64
	// Next is the offset to store. It may lie further than the last record: offsets have gaps, and poison is
	// left out.
	Next    int64
	Records []Record
}

// Sentinels that Sink.LoadOffset may return, and From of the first chunk then has.
const (
	// OffsetLatest starts after what the partition holds now.
	OffsetLatest int64 = -1
	// OffsetEarliest starts at the oldest record that the broker still has.
	OffsetEarliest int64 = -2
)
