package kafka

// Dedup recognises copies of a record in memory. A producer re-sends a slice whose acknowledgement was lost, so a
// partition can hold it twice; in each partition a producer's sequence only rises, so a record whose sequence is
// not above the last one seen there is a copy.
//
// It is for readers that rebuild their state at each start (Tail). A consumer that keeps state in the database
// keeps (topic, partition, producer_id, last sequence) there, moved in the same transaction as its results:
//
//	INSERT INTO producer_sequence (...) VALUES (...)
//	ON CONFLICT (topic, partition, producer_id) DO UPDATE SET sequence = excluded.sequence
//	WHERE producer_sequence.sequence < excluded.sequence
//
// The key holds the partition because order exists only within one.
// A Dedup is not safe for concurrent use.
type Dedup struct {
	limit           int
	young, previous map[dedupKey]uint64
}

type dedupKey struct {
	topic      string
	partition  int
	producerID string
}

// NewDedup remembers at least the limit/2 producers seen last, and never more than limit.
func NewDedup(limit int) *Dedup {
	return &Dedup{limit: max(limit, 2), young: map[dedupKey]uint64{}}
}

// First reports whether r is seen for the first time, and remembers it.
func (d *Dedup) First(r Record) bool {
	key := dedupKey{topic: r.Topic, partition: r.Partition, producerID: r.Meta.ProducerID}
	last, seen := d.young[key]
	if !seen {
		last, seen = d.previous[key]
	}
	if seen && r.Meta.Sequence <= last {
		return false
	}
	// Two generations bound the memory without a list: every run of a producer has a new id, and old ids never
	// come back.
	if _, young := d.young[key]; !young && len(d.young) >= d.limit/2 {
		d.previous, d.young = d.young, make(map[dedupKey]uint64, d.limit/2)
	}
	d.young[key] = r.Meta.Sequence
	return true
}
