package predictor

import (
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

// Reasons for which a window is left out of predictor/windows.
const (
	dropUnreadable = "unreadable"
	dropUnknown    = "unknown_workload"
	dropShadow     = "not_production"
	dropRepeated   = "repeated"
	dropAhead      = "ahead" // of this clock: until then it would pass for the newest there is
)

// maxAhead is how far another machine's clock may be ahead of this one's. Of a window that is left out for it a revision comes when
// its time has come and there is traffic.
const maxAhead = time.Minute

// feed hands live events to the models. An event that cannot be read is logged and left out: the aggregator, which keeps
// the truth, has put it beside its topic already.
type feed struct {
	models   map[string]*model.Model
	windows  *metric.Book
	advanced map[string]chan struct{}
	now      func() time.Time
	log      *slog.Logger
}

func (f feed) handlers() map[string]func(kafka.Record) error {
	return map[string]func(kafka.Record) error{
		kafka.TopicMetricsWindowed: func(r kafka.Record) error {
			f.windows.See(1)
			if reason := f.window(r); reason != "" {
				f.windows.Drop(reason, 1)
			} else {
				f.windows.Pass(1)
			}
			return nil
		},
		kafka.TopicCapacityMeasured: func(r kafka.Record) error { f.capacity(r); return nil },
		kafka.TopicScalingApplied:   func(r kafka.Record) error { f.action(r); return nil },
	}
}

// read decodes an event and finds the model of its workload, nil when there is none. False when it cannot be read.
func (f feed) read(r kafka.Record, event interface {
	proto.Message
	GetWorkload() string
}) (*model.Model, bool) {
	if err := r.Decode(event); err != nil {
		f.leftOut(r, err)
		return nil, false
	}
	return f.models[event.GetWorkload()], true
}

func (f feed) leftOut(r kafka.Record, err error) {
	f.log.Warn("event left out", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "event_id", r.Meta.ID, "err", err)
}

// window returns the reason for which a window was left out, empty when it was not.
func (f feed) window(r kafka.Record) string {
	w := &foreshadowv1.MetricsWindowed{}
	m, ok := f.read(r, w)
	switch {
	case !ok:
		return dropUnreadable
	case m == nil:
		return dropUnknown
	case w.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_PRODUCTION:
		return dropShadow
	case w.GetStartTime().AsTime().Sub(f.now()) > maxAhead:
		return dropAhead
	}
	news, err := m.ObserveWindow(w)
	switch {
	case err != nil:
		f.leftOut(r, err)
		return dropUnreadable
	case !news:
		return dropRepeated
	}
	if w.GetTraffic() != nil {
		signal(f.advanced[w.GetWorkload()])
	}
	return ""
}

func (f feed) capacity(r kafka.Record) {
	c := &foreshadowv1.CapacityMeasured{}
	if m, _ := f.read(r, c); m != nil && m.ObserveCapacity(model.AsOf(f.now(), c)) {
		f.log.Info("capacity measured", "workload", c.GetWorkload(), "requests_per_second", c.GetRequestsPerSecond())
	}
}

func (f feed) action(r kafka.Record) {
	a := &foreshadowv1.ScalingApplied{}
	if m, _ := f.read(r, a); m != nil {
		m.ObserveAction(a)
	}
}

// signal wakes whoever waits on a channel of one; one who has been woken already is not woken twice.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
