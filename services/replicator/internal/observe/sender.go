package observe

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Source names the replicator in its observations.
const Source = "replicator"

// maxTrafficBytes bounds the strata of one message, well below what a broker takes. A second with more strata is sent in
// several messages, which readers add like those of several replicators.
const maxTrafficBytes = 512 << 10

// Sender publishes each second of an Accumulator.
type Sender struct {
	// Accumulator is emptied by the sender alone.
	Accumulator *Accumulator
	// Workload names what was observed; it is the key of every message.
	Workload string
	// Publish queues a message and reports whether it was taken.
	Publish func(key string, m *foreshadowv1.MetricsObserved) bool
	// Figure is asked once before each sending how well the copies show production of late; the responses of what is sent
	// are filled in. nil, and a zero figure, are not known.
	Figure func() metric.Confidence
	// Log hears of a queue that is full, once until it takes messages again.
	Log *slog.Logger

	refusing bool
}

// Run sends every second shortly after its end, until ctx ends. What is left is for Drain.
func (s *Sender) Run(ctx context.Context) {
	for {
		now := s.Accumulator.now()
		timer := time.NewTimer(metric.WindowStart(now, Width).Add(Width).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			s.send(s.Accumulator.Take())
		}
	}
}

// Drain sends all that was counted, the running second included.
func (s *Sender) Drain() { s.send(s.Accumulator.TakeAll()) }

func (s *Sender) send(seconds []Second) {
	var figure metric.Confidence
	if s.Figure != nil {
		figure = s.Figure()
	}
	for _, second := range seconds {
		for i, m := range Messages(s.Workload, second) {
			if i == 0 && figure.Responses > 0 {
				m.Confidence = metric.NewConfidence(
					second.Strata.Total().Responses, figure.Mix(), figure.P95(), figure.DesignEffect(), figure.Span).Proto()
			}
			taken := s.Publish(s.Workload, m)
			if !taken && !s.refusing {
				s.Log.Error("observation dropped", "workload", s.Workload)
			}
			s.refusing = !taken
		}
	}
}

// Messages returns the observations of one second: at least one, for silence is not zero load.
func Messages(workload string, second Second) []*foreshadowv1.MetricsObserved {
	var messages []*foreshadowv1.MetricsObserved
	add := func(list []*foreshadowv1.Traffic) {
		messages = append(messages, &foreshadowv1.MetricsObserved{
			Workload:        workload,
			Environment:     foreshadowv1.Environment_ENVIRONMENT_PRODUCTION,
			Source:          Source,
			StartTime:       timestamppb.New(second.Start),
			DurationSeconds: Width.Seconds(),
			Traffic:         list,
			MaxInFlight:     uint32(max(second.MaxInFlight, 0)),
		})
	}
	rest, size, from := second.Strata.Proto(), 0, 0
	for i, t := range rest {
		n := proto.Size(t)
		if size+n > maxTrafficBytes && i > from {
			add(rest[from:i])
			size, from = 0, i
		}
		size += n
	}
	add(rest[from:])
	return messages
}
