package kafka

import (
	"fmt"
	"testing"
)

func TestDedup(t *testing.T) {
	t.Parallel()
	d := NewDedup(100)
	for i, step := range []struct {
		producer  string
		partition int
		sequence  uint64
		first     bool
	}{
		{"a", 0, 1, true},
		{"a", 0, 3, true},  // gaps are normal: other partitions, drops
		{"a", 0, 1, false}, // the slice again
		{"a", 0, 3, false},
		{"a", 0, 4, true},
		{"a", 1, 2, true}, // another partition has its own order
		{"b", 0, 1, true}, // and so has another run of the producer
		{"a", 0, 4, false},
	} {
		r := Record{Topic: "t", Partition: step.partition, Meta: Meta{ProducerID: step.producer, Sequence: step.sequence}}
		if got := d.First(r); got != step.first {
			t.Errorf("step %d: First = %v", i, got)
		}
	}
}

func TestDedupIsBoundedAndKeepsTheActive(t *testing.T) {
	t.Parallel()
	const limit = 10
	d := NewDedup(limit)
	record := func(producer string, sequence uint64) Record {
		return Record{Meta: Meta{ProducerID: producer, Sequence: sequence}}
	}
	for i := range uint64(1000) {
		d.First(record("active", i+1))
		d.First(record(fmt.Sprintf("short-lived-%d", i), 1))
		if got := len(d.young) + len(d.previous); got > limit {
			t.Fatalf("remembers %d producers, limit %d", got, limit)
		}
		if d.First(record("active", i+1)) {
			t.Fatalf("forgot a producer that was seen a moment ago, at %d", i)
		}
	}
}
