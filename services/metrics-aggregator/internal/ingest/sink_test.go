package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/ingest"
)

func handle(t *testing.T, sink *ingest.Sink, chunk kafka.Chunk) {
	t.Helper()
	if err := sink.HandleChunk(t.Context(), chunk); err != nil {
		t.Fatal(err)
	}
}

func TestDuplicatesAreCountedOnce(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	sink, rng, want := newSink(t, pool), rand.New(rand.NewPCG(1, 1)), model{}
	var records []kafka.Record
	for i := range uint64(6) {
		o := observed(rng, "shop", epoch.Add(time.Duration(i/3)*time.Second))
		want.add(o)
		records = append(records, record(t, o, "a", i))
	}
	// A producer that did not hear the acknowledgement sends a slice again: within a chunk, in a later one, and after that
	// goes on.
	handle(t, sink, chunkOf(0, kafka.OffsetEarliest, records[0], records[1], records[0], records[1], records[2]))
	handle(t, sink, chunkOf(0, 5, records[2], records[3], records[1]))
	handle(t, sink, chunkOf(0, 8, records[4], records[5]))
	checkWindows(t, pool, "shop", want)
	wantLedger := metric.Ledger{Hop: ingest.Hop, Seen: 10, Passed: 6, Dropped: map[string]uint64{"duplicate": 4}}
	if diff := cmp.Diff(wantLedger, sink.Ledger()); diff != "" {
		t.Errorf("ledger:\n%s", diff)
	}
	// Another producer may use the same numbers.
	other := observed(rng, "shop", epoch)
	want.add(other)
	handle(t, sink, chunkOf(0, 10, record(t, other, "b", 0)))
	checkWindows(t, pool, "shop", want)
}

func TestZombieChangesNothing(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	owner, zombie, rng, want := newSink(t, pool), newSink(t, pool), rand.New(rand.NewPCG(2, 2)), model{}
	chunk := func(from int64, count bool) kafka.Chunk {
		o := observed(rng, "shop", epoch)
		if count {
			want.add(o)
		}
		return chunkOf(0, from, record(t, o, fmt.Sprint("p", rng.Uint32()), 1))
	}
	for _, s := range []*ingest.Sink{owner, zombie} {
		if next, err := s.LoadOffset(t.Context(), kafka.TopicMetricsObserved, 0); err != nil || next != kafka.OffsetEarliest {
			t.Fatalf("offset of a new partition = %d, %v", next, err)
		}
	}
	handle(t, owner, chunk(kafka.OffsetEarliest, true))
	for _, from := range []int64{kafka.OffsetEarliest, 0} {
		if err := zombie.HandleChunk(t.Context(), chunk(from, false)); !errors.Is(err, kafka.ErrFenced) {
			t.Errorf("zombie at its first chunk: %v, want ErrFenced", err)
		}
	}
	handle(t, owner, chunk(1, true))
	if err := zombie.HandleChunk(t.Context(), chunk(1, false)); !errors.Is(err, kafka.ErrFenced) {
		t.Errorf("zombie at a later chunk: %v, want ErrFenced", err)
	}
	checkWindows(t, pool, "shop", want)
	if l := zombie.Ledger(); l.Seen != 0 {
		t.Errorf("zombie counts what it did not commit: %+v", l)
	}
	next, err := zombie.LoadOffset(t.Context(), kafka.TopicMetricsObserved, 0)
	if err != nil || next != 2 {
		t.Errorf("offset after a reload = %d, %v, want 2", next, err)
	}
}

// TestAnyInterleavingGivesTheSameWindows feeds partitions through several processes at once, in chunks cut at random, while
// connections are killed; each chunk is tried again until it is committed or found to be, as the consumer does.
func TestAnyInterleavingGivesTheSameWindows(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	var lost atomic.Int64
	for seed := range uint64(5) {
		rng, want := rand.New(rand.NewPCG(seed, 3)), model{}
		shop := fmt.Sprintf("shop-%d", seed)
		partitions := make([][]kafka.Record, 3)
		for p := range partitions {
			for i := range uint64(40) {
				o := observed(rng, shop, epoch.Add(-time.Duration(rng.IntN(5))*time.Second))
				want.add(o)
				partitions[p] = append(partitions[p], record(t, o, shop, i))
			}
		}
		var all sync.WaitGroup
		tries, killed := make(chan struct{}), make(chan struct{})
		go func() { defer close(killed); killConnections(t.Context(), pool, tries) }()
		for p, records := range partitions {
			number, cuts := int(seed)*len(partitions)+p, rand.New(rand.NewPCG(seed, uint64(p)))
			all.Go(func() { feed(t, newSink(t, pool), number, records, cuts, tries, &lost) })
		}
		all.Wait()
		close(tries)
		<-killed
		checkWindows(t, pool, shop, want)
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
	if lost.Load() == 0 {
		t.Error("no chunk lost its connection: the test has not tested that")
	}
}

// killConnections ends a connection, whatever it is doing, at every third try of a chunk.
func killConnections(ctx context.Context, pool *pgxpool.Pool, tries <-chan struct{}) {
	n := 0
	for range tries {
		if n++; n%3 != 0 {
			continue
		}
		// Its own connection may be the one that is killed next; then it just goes on.
		_, _ = pool.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' order by random() limit 1`)
	}
}

func feed(t *testing.T, sink *ingest.Sink, partition int, records []kafka.Record, rng *rand.Rand, tries chan<- struct{}, lost *atomic.Int64) {
	from := kafka.OffsetEarliest
	for at := int64(0); at < int64(len(records)); {
		n := min(1+rng.Int64N(7), int64(len(records))-at)
		tries <- struct{}{}
		err := sink.HandleChunk(t.Context(), chunkOf(partition, from, records[at:at+n]...))
		switch {
		case err == nil:
			from, at = at+n, at+n
		case errors.Is(err, kafka.ErrFenced) || t.Context().Err() == nil:
			lost.Add(1)
			// The commit may have been done and its answer lost: the stored offset tells.
			next, err := sink.LoadOffset(t.Context(), kafka.TopicMetricsObserved, partition)
			if err == nil {
				from, at = next, max(next, 0)
			}
		default:
			t.Errorf("partition %d: %v", partition, err)
			return
		}
	}
}

func TestObservationIsAlignedByItsStart(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	sink, want := newSink(t, pool), model{}
	o := observed(rand.New(rand.NewPCG(5, 5)), "shop", epoch.Add(500*time.Millisecond))
	o.DurationSeconds = 0.5
	want.add(o)
	// Days old, and the day before has no partition yet.
	past := observed(rand.New(rand.NewPCG(6, 6)), "shop", epoch.AddDate(0, 0, -3))
	want.add(past)
	handle(t, sink, chunkOf(0, kafka.OffsetEarliest, record(t, o, "a", 0), record(t, past, "a", 1)))
	checkWindows(t, pool, "shop", want)
}

func TestEmptyObservationMakesAWindow(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	sink := newSink(t, pool)
	o := observed(rand.New(rand.NewPCG(5, 5)), "shop", epoch)
	o.Traffic, o.MaxInFlight, o.MaxLagSeconds = nil, 0, 0
	handle(t, sink, chunkOf(0, kafka.OffsetEarliest, record(t, o, "a", 0)))
	got, _ := stored(t, pool, "shop")
	want := map[string]*foreshadowv1.TrafficWindow{fmt.Sprintf("shop/%d/%s", o.Environment, epoch.Format(time.RFC3339)): {}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("silence is not recorded as such:\n%s", diff)
	}
}
