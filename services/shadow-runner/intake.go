package shadowrunner

import (
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
)

// Reasons why a captured event did not reach a lane.
const (
	dropDuplicate       = "duplicate"
	dropPoison          = "poison"
	dropUnknownWorkload = "unknown_workload"
	dropAhead           = "ahead" // of this clock: it would wait in the queue, and all others would be older than it
)

// maxAhead is how far the clock of a tap may be ahead of this one.
const maxAhead = 30 * time.Second

// maxProducers bounds the memory of the de-duplication; each run of a replicator is one producer for each partition.
const maxProducers = 10_000

// intake turns records into requests and gives each to its lane, once.
type intake struct {
	book  *metric.Book
	lanes map[string]*lane

	mu    sync.Mutex
	dedup *kafka.Dedup
}

func newIntake(book *metric.Book, lanes map[string]*lane) *intake {
	return &intake{book: book, lanes: lanes, dedup: kafka.NewDedup(maxProducers)}
}

type arrival struct {
	workload string
	request  *captured.Request
}

// handle never waits. With poison among the records it does nothing but to name it: the rest then comes again.
func (in *intake) handle(records []kafka.Record) error {
	arrivals := make([]arrival, len(records))
	var poison []kafka.Poison
	for i, r := range records {
		var event foreshadowv1.CapturedRequest
		err := r.Decode(&event)
		if err == nil {
			arrivals[i].workload = event.GetWorkload()
			arrivals[i].request, err = captured.Parse(&event)
		}
		if err != nil {
			poison = append(poison, kafka.Poison{Offset: r.Offset, Reason: err.Error()})
		}
	}
	if len(poison) > 0 {
		in.book.See(uint64(len(poison)))
		in.book.Drop(dropPoison, uint64(len(poison)))
		return &kafka.PoisonError{Records: poison}
	}
	in.book.See(uint64(len(records)))
	for i, r := range records {
		switch l := in.lanes[arrivals[i].workload]; {
		case !in.first(r):
			in.book.Drop(dropDuplicate, 1)
		case l == nil:
			in.book.Drop(dropUnknownWorkload, 1)
		case time.Until(arrivals[i].request.Arrive) > maxAhead:
			in.book.Drop(dropAhead, 1)
		default:
			l.take(arrivals[i].request)
		}
	}
	return nil
}

func (in *intake) first(r kafka.Record) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dedup.First(r)
}
