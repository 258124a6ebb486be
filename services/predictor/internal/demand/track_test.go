package demand_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshadow/foreshadow/services/predictor/internal/demand"
)

var epoch = time.Unix(1_700_000_000, 0).UTC().Truncate(time.Minute)

func window(second int, revision uint64, requests float64) demand.Window {
	return demand.Window{Start: epoch.Add(time.Duration(second) * time.Second), Width: time.Second, Revision: revision, Requests: requests}
}

func steps(t *demand.Track, second float64) []float64 {
	var out []float64
	for _, s := range t.Steps(epoch.Add(time.Duration(second * float64(time.Second)))) {
		out = append(out, s.PerSecond)
	}
	return out
}

func TestStepsAreMeansAndGapsStayGaps(t *testing.T) {
	t.Parallel()
	tr := demand.NewTrack(2*time.Second, time.Minute, 500*time.Millisecond)
	for second, requests := range map[int]float64{0: 10, 1: 30, 2: 7 /* 3 is missing */, 6: 0, 7: 0} {
		tr.Add(window(second, 1, requests))
	}
	if got := steps(tr, 2.4); got != nil {
		t.Errorf("a step was handed out before it settled: %v", got)
	}
	want := []float64{20, 7, math.NaN(), 0}
	if diff := cmp.Diff(want, steps(tr, 8.5), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got := steps(tr, 9); got != nil {
		t.Errorf("steps came twice: %v", got)
	}
}

func TestOnlyAHigherRevisionReplaces(t *testing.T) {
	t.Parallel()
	tr := demand.NewTrack(time.Second, time.Minute, 0)
	if !tr.Add(window(0, 1, 5)) || tr.Add(window(0, 1, 5)) || !tr.Add(window(0, 3, 9)) || tr.Add(window(0, 2, 7)) {
		t.Fatal("the revision did not decide")
	}
	if diff := cmp.Diff([]float64{9}, steps(tr, 1)); diff != "" {
		t.Error(diff)
	}
	if tr.Late() {
		t.Error("nothing was late yet")
	}
	tr.Add(window(0, 4, 10))
	if !tr.Late() || tr.Late() {
		t.Error("a window for a step handed out must be said to be late, once")
	}
}

func TestRecentHoldsSettledWindowsOnly(t *testing.T) {
	t.Parallel()
	tr := demand.NewTrack(15*time.Second, time.Minute, time.Second)
	for i := range 10 {
		tr.Add(window(i, 1, float64(i)))
	}
	got := tr.Recent(epoch.Add(10*time.Second), 3*time.Second)
	if len(got) != 3 || got[0].Requests != 6 || got[2].Requests != 8 {
		t.Errorf("got %v, want the windows 6, 7 and 8", got)
	}
	tr.Steps(epoch.Add(2 * time.Minute))
	if got := tr.Recent(epoch.Add(2*time.Minute), time.Hour); got != nil {
		t.Errorf("windows were kept beyond their time: %v", got)
	}
}

func TestSkipLeavesOutWhatHistoryGave(t *testing.T) {
	t.Parallel()
	tr := demand.NewTrack(time.Second, time.Minute, 0)
	for i := range 5 {
		tr.Add(window(i, 1, float64(i)))
	}
	tr.Skip(epoch.Add(3 * time.Second))
	if diff := cmp.Diff([]float64{3, 4}, steps(tr, 5)); diff != "" {
		t.Error(diff)
	}
}
