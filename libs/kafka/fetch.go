package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// fetchWait is how long the broker holds a fetch that finds nothing.
const fetchWait = time.Second

// fetcher reads one partition from any offset, without a group.
//
// It uses the fetch request itself and not kafka-go's Reader. The Reader skips silently to the oldest record when
// its offset is gone, reconnects at each idle MaxWait below 1 s, stalls a rebalance when MaxWait is above it, and
// reads ahead: here a fetch is cancelled at once, and nothing is read that is not handled next.
type fetcher struct {
	client    *client
	topic     string
	partition int
	maxBytes  int
}

// fetched is a run of records from the offset asked for up to next.
type fetched struct {
	records       []wireRecord
	next          int64
	highWatermark int64
}

// wireRecord is a record before its envelope is read.
type wireRecord struct {
	offset  int64
	key     []byte
	value   []byte
	headers []kafkago.Header
}

// fetch returns what lies at offset, after waiting up to fetchWait for anything to lie there.
func (f *fetcher) fetch(ctx context.Context, offset int64) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait+f.client.cfg.RequestTimeout)
	defer cancel()
	resp, err := f.client.api.Fetch(ctx, &kafkago.FetchRequest{
		Topic: f.topic, Partition: f.partition, Offset: offset,
		MinBytes: 1, MaxBytes: int64(f.maxBytes), MaxWait: fetchWait,
	})
	if err == nil {
		err = resp.Error
	}
	if err != nil {
		return fetched{}, f.client.explain(fmt.Sprintf("fetch %s/%d offset %d", f.topic, f.partition, offset), err)
	}
	got := fetched{next: offset, highWatermark: resp.HighWatermark}
	for {
		r, err := resp.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			if len(got.records) == 0 {
				got.next = max(offset, emptyBatchesEnd(resp.Records, offset))
			}
			return got, nil
		}
		if err != nil {
			return fetched{}, fmt.Errorf("read records of %s/%d from offset %d: %w", f.topic, f.partition, offset, err)
		}
		record, err := copyRecord(r)
		if err != nil {
			return fetched{}, fmt.Errorf("read record of %s/%d at offset %d: %w", f.topic, f.partition, r.Offset, err)
		}
		if r.Offset < offset {
			continue // a batch is sent whole, also when asked for from its middle
		}
		got.records = append(got.records, record)
		got.next = r.Offset + 1
	}
}

// emptyBatchesEnd is the first offset after batches that hold no data: transaction markers, and batches that
// compaction emptied. Without it a partition that ends with one would be fetched there forever. kafka-go does not
// tell where such a batch ends, but a broker sends only batches that reach the offset asked for: that one at least
// is behind.
func emptyBatchesEnd(records kafkago.RecordReader, offset int64) int64 {
	stream, ok := records.(*protocol.RecordStream)
	if !ok || len(stream.Records) == 0 {
		return offset
	}
	end := offset + 1
	for _, batch := range stream.Records {
		switch b := batch.(type) {
		case *protocol.ControlBatch:
			end = max(end, b.BaseOffset+1)
		case *protocol.RecordBatch:
			end = max(end, b.BaseOffset+1)
		}
	}
	return end
}

func copyRecord(r *kafkago.Record) (wireRecord, error) {
	out := wireRecord{offset: r.Offset, headers: r.Headers}
	var err error
	if r.Key != nil {
		if out.key, err = kafkago.ReadAll(r.Key); err != nil {
			return out, err
		}
		if err = r.Key.Close(); err != nil {
			return out, err
		}
	}
	if r.Value != nil {
		if out.value, err = kafkago.ReadAll(r.Value); err != nil {
			return out, err
		}
		err = r.Value.Close()
	}
	return out, err
}

// parse reads the envelope; its error is the reason for the DLQ.
func (f *fetcher) parse(w wireRecord) (Record, error) {
	meta, err := parseMeta(w.headers)
	return Record{
		Meta: meta, Topic: f.topic, Partition: f.partition, Offset: w.offset,
		Key: string(w.key), Value: w.value, headers: w.headers,
	}, err
}

// first is the oldest offset that the broker has, and the end is the one the next record will get.
func (f *fetcher) first(ctx context.Context) (int64, error) {
	return f.listOffset(ctx, kafkago.FirstOffsetOf(f.partition))
}

func (f *fetcher) end(ctx context.Context) (int64, error) {
	return f.listOffset(ctx, kafkago.LastOffsetOf(f.partition))
}

// since is the offset of the first record not older than at. When there is none yet it is end, which the caller read
// before: a record written since then is young enough, and an end asked for now would be behind it.
func (f *fetcher) since(ctx context.Context, at time.Time, end int64) (int64, error) {
	offset, err := f.listOffset(ctx, kafkago.TimeOffsetOf(f.partition, at))
	if err == nil && offset < 0 {
		return end, nil
	}
	return offset, err
}

func (f *fetcher) listOffset(ctx context.Context, req kafkago.OffsetRequest) (int64, error) {
	ctx, cancel := f.client.request(ctx)
	defer cancel()
	resp, err := f.client.api.ListOffsets(ctx, &kafkago.ListOffsetsRequest{
		Topics: map[string][]kafkago.OffsetRequest{f.topic: {req}},
	})
	if err != nil {
		return 0, f.client.explain(fmt.Sprintf("list offsets of %s/%d", f.topic, f.partition), err)
	}
	for _, p := range resp.Topics[f.topic] {
		if p.Partition != f.partition {
			continue
		}
		if p.Error != nil {
			return 0, f.client.explain(fmt.Sprintf("list offsets of %s/%d", f.topic, f.partition), p.Error)
		}
		switch req.Timestamp {
		case kafkago.FirstOffset:
			return p.FirstOffset, nil
		case kafkago.LastOffset:
			return p.LastOffset, nil
		}
		for offset := range p.Offsets {
			return offset, nil
		}
		return -1, nil // no record is that young
	}
	return 0, fmt.Errorf("list offsets of %s/%d: partition is missing in the answer", f.topic, f.partition)
}

// resolve turns a stored offset or a sentinel into one to fetch.
func (f *fetcher) resolve(ctx context.Context, stored int64) (int64, error) {
	switch stored {
	case OffsetEarliest:
		return f.first(ctx)
	case OffsetLatest:
		return f.end(ctx)
	default:
		return stored, nil
	}
}
