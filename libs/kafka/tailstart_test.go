package kafka

import (
	"context"
	"net"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// growing answers for an empty partition to which a record is written right after the look for young records.
type growing struct{ end int64 }

func (g *growing) RoundTrip(_ context.Context, _ net.Addr, req kafkago.Request) (kafkago.Response, error) {
	asked := req.(*listoffsets.Request).Topics[0]
	p := listoffsets.ResponsePartition{Partition: asked.Partitions[0].Partition, Timestamp: asked.Partitions[0].Timestamp, Offset: g.end}
	if p.Timestamp >= 0 {
		p.Timestamp, p.Offset = -1, -1
		g.end++
	}
	return &listoffsets.Response{Topics: []listoffsets.ResponseTopic{{Topic: asked.Topic, Partitions: []listoffsets.ResponsePartition{p}}}}, nil
}

func TestTailSinceKeepsARecordWrittenWhileItStarts(t *testing.T) {
	t.Parallel()
	c := &client{cfg: Default(), api: &kafkago.Client{Addr: kafkago.TCP("127.0.0.1:1"), Transport: &growing{}}}
	offset, end, err := (&tailer{}).start(t.Context(), &fetcher{client: c, topic: "t"}, Since(time.Now()))
	if err != nil || offset != 0 || end != 0 {
		t.Errorf("start = offset %d, end %d, %v; the record at offset 0 is skipped", offset, end, err)
	}
}
