package tap_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// TestBodiesOnTheirWayAreBounded: of requests that do not end, as of clients that send slowly, no more is kept than there is
// room for, and the copies of the others are dropped and counted. Room is free again when requests have ended, whatever
// became of them.
func TestBodiesOnTheirWayAreBounded(t *testing.T) {
	t.Parallel()
	const body = 1 << 20
	p := &topic{}
	w := workload.Default()
	w.Name, w.Tap.SampleRatio, w.Tap.SampleKey, w.Tap.MaxBodyBytes, w.Tap.Methods = "shop", 1, "k", 2*body, []string{http.MethodPost}
	tapped := build(t, tap.Config{Workload: w, KeepBodies: []string{"application/octet-stream"}, Publisher: p, Accumulator: observe.NewAccumulator(time.Now)})
	piece := []byte(strings.Repeat("x", body))
	begin := func(pieces int) *tap.Exchange {
		r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
		r.ContentLength = int64(pieces) * body
		r.Header.Set("Content-Type", "application/octet-stream")
		x := tapped.Begin(r, time.Now())
		for range pieces {
			_, _ = x.Body().Write(piece)
		}
		return x
	}
	rounds := []struct {
		pieces int
		result tap.Result
	}{
		{1, tap.Result{Status: 200, BodyRead: true}},
		{3, tap.Result{Status: 200, BodyRead: true}}, // too large, and not kept
		{1, tap.Result{Aborted: true}},
		{1, tap.Result{Status: 200, BodyRead: true}},
	}
	var lost []uint64
	for _, round := range rounds {
		before := tapped.Ledger().Dropped[tap.ReasonRoom]
		var open []*tap.Exchange
		for range 80 {
			open = append(open, begin(round.pieces))
		}
		for _, x := range open {
			x.End(round.result)
		}
		lost = append(lost, tapped.Ledger().Dropped[tap.ReasonRoom]-before)
		p.mu.Lock()
		for _, e := range p.events {
			if round.pieces == 1 && len(e.Message.GetBody()) != body {
				t.Errorf("a copy of %d bytes", len(e.Message.GetBody()))
			}
		}
		p.events = nil
		p.mu.Unlock()
	}
	if lost[0] == 0 || lost[0] > 40 || lost[1] != 0 || lost[2] != 0 || lost[3] != lost[0] {
		t.Errorf("of 80 requests each lost %v for want of room", lost)
	}
	if l := tapped.Ledger(); !l.Balanced() || l.Seen != 320 || l.Dropped[tap.ReasonBody] != 80 {
		t.Errorf("ledger %+v", l)
	}
}
