// Package kafka is the only room that knows segmentio/kafka-go. It moves protobuf events under CloudEvents headers,
// and it closes kafka-go's traps once: every default that loses data or stalls is set here, with the reason beside
// it, and none of kafka-go's types leaves the package.
//
// # Publishing: the caller never waits
//
//	Publish --encode--> queue (bounded in bytes) --chunk--> Run --slices, acks=all--> partitions (murmur2)
//	   |                   | full                             |
//	   | encode, too_large | queue_full                       | broker away: the same chunk again, same sequences
//	   v                   v                                  | shutdown:    drain for DrainTimeout, then drop
//	           Ledger: Offered = Published + sum(Dropped by reason) + Pending, at any moment
//
// kafka-go has no idempotent producer, so a chunk whose acknowledgement was lost is written twice. Each record
// carries (producer_id, sequence); within a partition a producer's sequence only rises, and a reader that sees one
// not above the last leaves the record out: Dedup in memory, a table in a database. ce_id is made of the same two.
//
// # Consuming exactly once: offsets live where the results live
//
//	Kafka group ----which partitions----> Consumer
//	                                         |  for each partition, one chunk in flight
//	database ---LoadOffset---> fetch from there, without the group
//	    ^                                    |
//	    +---HandleChunk: results + offset From->Next (compare-and-set), ONE transaction
//
//	HandleChunk returns   nil             committed: on to the next chunk
//	                      ErrFenced       another owner has moved the offset: reload it, or end with the generation
//	                      *PoisonError    those records go to the .dlq, then the rest of the chunk comes again
//	                      any other       the same chunk again, after a pause
//
// A member that was stopped and wakes up (a zombie) may still hold a chunk. Its compare-and-set fails, because the
// new owner has moved the offset: that is the fence, and it needs no clock. A record without a valid envelope goes
// to the .dlq before HandleChunk sees the chunk; the offset passes it only after that write is acknowledged.
//
// NewGroupReader is the same loop with the offsets in Kafka: at least once, for handlers that can bear a repeat.
// With ConsumerConfig.Exclusive one member of a group has all partitions and the others are in reserve: for work that two must not do.
// Tail reads all partitions without a group, from the beginning or from a time, and says when it has caught up: for
// services that rebuild their state from a topic at each start.
//
// # Which kafka-go
//
// Kafka 4 removed the old protocol versions; kafka-go speaks the new ones since 0.4.51. Its Writer and Reader are
// not used: see Sender and fetcher for what they do behind one's back.
package kafka
