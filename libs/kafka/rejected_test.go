package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// strict is a broker of one partition that refuses a batch for a single record from the future, as brokers do, and says which.
type strict struct {
	now   time.Time
	names bool // as brokers do since 2.4
	taken int
}

func (s *strict) RoundTrip(_ context.Context, _ net.Addr, req kafkago.Request) (kafkago.Response, error) {
	asked, produces := req.(*produce.Request)
	if !produces {
		return &metadata.Response{Topics: []metadata.ResponseTopic{{Name: "t", Partitions: []metadata.ResponsePartition{{PartitionIndex: 0}}}}}, nil
	}
	n, answer := 0, produce.ResponsePartition{}
	for records := asked.Topics[0].Partitions[0].RecordSet.Records; ; n++ {
		r, err := records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if r.Time.After(s.now) {
			answer.ErrorCode = int16(kafkago.InvalidTimestamp)
			if s.names {
				answer.RecordErrors = append(answer.RecordErrors, produce.ResponseError{BatchIndex: int32(n)})
			}
		}
	}
	if answer.ErrorCode == 0 {
		s.taken += n
	}
	return &produce.Response{Topics: []produce.ResponseTopic{{Topic: "t", Partitions: []produce.ResponsePartition{answer}}}}, nil
}

// TestARefusedRecordTakesNoOtherWithIt: a broker refuses the whole batch for it.
func TestARefusedRecordTakesNoOtherWithIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		names           bool
		taken, rejected int
	}{{true, 98, 2}, {false, 0, 100}} {
		broker := &strict{now: time.Now(), names: c.names}
		sender := &Sender{client: &client{cfg: Default(), api: &kafkago.Client{Addr: kafkago.TCP("127.0.0.1:1"), Transport: broker}}}
		messages := make([]RawMessage, 100)
		for i := range messages {
			messages[i] = RawMessage{Topic: "t", Key: "k", Value: []byte("x"), Meta: validMeta()}
			messages[i].Meta.Time = broker.now
		}
		messages[42].Meta.Time, messages[99].Meta.Time = broker.now.Add(time.Hour), broker.now.Add(time.Hour)
		var rejected *RejectedError
		err := sender.SendRaw(t.Context(), messages)
		if !errors.As(err, &rejected) || len(rejected.Messages) != c.rejected || broker.taken != c.taken {
			t.Errorf("%+v: %d taken, error %v", c, broker.taken, err)
			continue
		}
		if first := rejected.Messages[0]; c.names && (first.Index != 42 || first.Reason != ReasonRejected || rejected.Messages[1].Index != 99) {
			t.Errorf("rejected %+v, want 42 and 99", rejected.Messages)
		}
	}
}
