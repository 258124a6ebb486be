package kafka

import (
	"context"
	"fmt"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Headers that a record has in the DLQ besides its own.
const (
	headerDLQReason    = "dlq_reason"
	headerDLQTopic     = "dlq_topic"
	headerDLQPartition = "dlq_partition"
	headerDLQOffset    = "dlq_offset"
	headerDLQGroup     = "dlq_group"
	headerDLQTruncated = "dlq_truncated_bytes"

	// maxReason keeps an error text from making a small record a large one.
	maxReason = 512
	// maxKept bounds the key, and all headers together, of a record that does not fit.
	maxKept = 64 << 10
)

type deadLetter struct {
	record Record
	reason string
}

// setAside writes records to the DLQ and returns when they are acknowledged. After a crash between that and the
// commit of the offset they are written again; dlq_topic, dlq_partition and dlq_offset tell which are copies.
func (s *Sender) setAside(ctx context.Context, group string, letters []deadLetter) error {
	batch := make([]*outgoing, len(letters))
	for i, l := range letters {
		batch[i] = l.outgoing(group)
	}
	if err := s.send(ctx, batch); err != nil {
		return err
	}
	// The copy has more headers than the original, so one at the broker's limit no longer fits. What cannot be
	// kept is said to be missing: holding up the partition for it forever would be worse.
	var cut []*outgoing
	for i, o := range batch {
		if o.rejected == nil {
			continue
		}
		cut = append(cut, letters[i].cut(group))
	}
	if len(cut) == 0 {
		return nil
	}
	if err := s.send(ctx, cut); err != nil {
		return err
	}
	for _, o := range cut {
		if o.rejected != nil {
			return fmt.Errorf("write to %s: %w", o.topic, o.rejected)
		}
	}
	return nil
}

// cut is outgoing without the value, nor a key or headers that are large themselves: a stranger can fill a record with those, too.
func (l deadLetter) cut(group string) *outgoing {
	lost := len(l.record.Value)
	l.record.Value = nil
	if len(l.record.Key) > maxKept {
		lost, l.record.Key = lost+len(l.record.Key), ""
	}
	headers := 0
	for _, h := range l.record.headers {
		headers += len(h.Key) + len(h.Value)
	}
	if headers > maxKept {
		for _, h := range l.record.headers {
			lost += len(h.Value)
		}
		l.record.headers = nil
	}
	o := l.outgoing(group)
	o.headers = append(o.headers, kafkago.Header{Key: headerDLQTruncated, Value: strconv.AppendInt(nil, int64(lost), 10)})
	return o
}

func (l deadLetter) outgoing(group string) *outgoing {
	r := l.record
	headers := append([]kafkago.Header(nil), r.headers...)
	for _, h := range []struct{ key, value string }{
		{headerDLQReason, l.reason[:min(len(l.reason), maxReason)]},
		{headerDLQTopic, r.Topic},
		{headerDLQPartition, strconv.Itoa(r.Partition)},
		{headerDLQOffset, strconv.FormatInt(r.Offset, 10)},
		{headerDLQGroup, group},
	} {
		headers = append(headers, kafkago.Header{Key: h.key, Value: []byte(h.value)})
	}
	o := newOutgoing(RawMessage{Topic: DLQ(r.Topic), Key: r.Key, Value: r.Value, Meta: Meta{Time: time.Now()}})
	o.headers = headers
	return o
}
