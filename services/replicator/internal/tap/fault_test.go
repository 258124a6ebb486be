package tap_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// faulty is a tap with a fault to be met, at once or when requests end.
type faulty struct {
	looking bool
	said    bytes.Buffer
	topic   topic
	seconds *observe.Accumulator
	tap     *tap.Tap
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	f := &faulty{seconds: observe.NewAccumulator(time.Now)}
	w := workload.Default()
	w.Name, w.Tap.SampleRatio, w.Tap.SampleKey, w.Tap.AnswerShapes = "shop", 1, "k", 1000
	f.tap = build(t, tap.Config{
		Workload: w, Publisher: &f.topic, Accumulator: f.seconds, Log: slog.New(slog.NewTextHandler(&f.said, nil)),
		Share: func() float64 {
			if f.looking {
				panic("looking")
			}
			return 1
		},
	})
	return f
}

// request passes the tap. Without its target it can not be copied.
func (f *faulty) request(targetless, later bool) {
	r := httptest.NewRequest(http.MethodGet, "/private-matter", nil)
	x := f.tap.Begin(r, time.Now())
	if w := x.Answer(tap.AnswerHead{Status: 200, ContentType: "application/json", Length: 2}); later && w != nil {
		_, _ = w.Write([]byte("{}"))
	}
	if targetless {
		r.URL = nil
	}
	res := tap.Result{Status: 200, BodyRead: true, Latency: time.Millisecond}
	if !later {
		x.End(res)
		return
	}
	var waiting []func()
	x.EndLater(res, func(do func()) { waiting = append(waiting, do) })
	for _, do := range waiting {
		do()
	}
}

// TestAFaultCostsTheCopyAlone: whatever goes wrong while a request is looked at, or copied, it is counted as one that was
// answered, its copy as dropped, and the next request is copied. The first fault is said, with its place, and nothing of the
// request.
func TestAFaultCostsTheCopyAlone(t *testing.T) {
	t.Parallel()
	for name, meet := range map[string]func(f *faulty){
		"looking":       func(f *faulty) { f.looking = true; f.request(false, false); f.looking = false },
		"copying":       func(f *faulty) { f.request(true, false) },
		"copying later": func(f *faulty) { f.request(true, true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t)
			meet(f)
			meet(f)
			f.request(false, true)
			l := f.tap.Ledger()
			if !l.Balanced() || l.Seen != 3 || l.Dropped[tap.ReasonFault] != 2 || len(f.topic.events) != 1 {
				t.Errorf("ledger %+v, %d copies", l, len(f.topic.events))
			}
			sum := metric.Strata{}
			for _, second := range f.seconds.TakeAll() {
				sum.Merge(second.Strata)
			}
			if got := sum.Total(); got.Requests != 3 || got.Responses != 3 || got.Errors != 0 || got.Sampled != 1 || f.seconds.InFlight() != 0 {
				t.Errorf("observed %+v, %d in flight", got, f.seconds.InFlight())
			}
			if said := f.said.String(); strings.Count(said, "level=ERROR") != 1 || !strings.Contains(said, "contain") || strings.Contains(said, "private") {
				t.Errorf("said %s", said)
			}
		})
	}
}
