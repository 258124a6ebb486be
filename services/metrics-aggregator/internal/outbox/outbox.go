// Package outbox publishes what a transaction has committed: the transaction writes its events into a table, and the relay
// reads them from there, publishes them, and deletes them. A process that dies in between publishes some of them twice,
// under the same id and sequence; none is lost, and the events of one key keep the order of their commits.
//
//	transaction: results + outbox rows ──commit──> Relay: lock, read in order, publish, delete, commit
package outbox

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
)

// Event is one message that is to be published.
type Event struct {
	Topic   string
	Key     string
	Time    time.Time
	Message proto.Message
}

// The keys of outbox_tally for what left the outbox; a writer has its own name.
const (
	tallyRelayed  = "relayed"
	tallyRejected = "rejected"
)

// Queue adds the events to a batch of a transaction. The caller holds a lock per key until the commit: only then is the
// order of the ids the order of the commits. writer names who writes, for the tally.
func Queue(batch *pgx.Batch, writer string, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	n := len(events)
	topics, keys, types := make([]string, n), make([]string, n), make([]string, n)
	times, payloads := make([]time.Time, n), make([][]byte, n)
	for i, e := range events {
		payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(e.Message)
		if err != nil {
			return fmt.Errorf("encode event for %s: %w", e.Topic, err)
		}
		topics[i], keys[i], types[i] = e.Topic, e.Key, string(e.Message.ProtoReflect().Descriptor().FullName())
		times[i], payloads[i] = e.Time, payload
	}
	batch.Queue(`insert into outbox (topic, key, type, create_time, payload)
		select topic, key, type, create_time, payload
		from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bytea[])
			with ordinality as e (topic, key, type, create_time, payload, n) order by n`,
		topics, keys, types, times, payloads)
	queueTally(batch, "written by "+writer, n)
	return nil
}

func queueTally(batch *pgx.Batch, name string, n int) {
	batch.Queue(`insert into outbox_tally (name, events) values ($1, $2)
		on conflict (name) do update set events = outbox_tally.events + excluded.events`, name, n)
}
