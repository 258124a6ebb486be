package demand_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/services/predictor/internal/demand"
)

var epoch = time.Unix(1_700_000_000, 0).UTC().Truncate(time.Minute)

func window(second int, revision uint64, requests float64) demand.Window {
	return demand.Window{Start: epoch.Add(time.Duration(second) * time.Second), Width: time.Second, Revision: revision, Requests: requests}
}

func at(second float64) time.Time { return epoch.Add(time.Duration(second * float64(time.Second))) }

// steps are the steps handed out at a moment, by their second.
func steps(t *demand.Track, second float64) map[int]float64 {
	var out map[int]float64
	for _, s := range t.Steps(at(second)) {
		if out == nil {
			out = map[int]float64{}
		}
		out[int(s.Start.Sub(epoch)/time.Second)] = s.PerSecond
	}
	return out
}

func track(step time.Duration) *demand.Track {
	return demand.NewTrack(demand.Times{Step: step, Keep: time.Minute, Settle: 500 * time.Millisecond, Patience: 3 * time.Second})
}

func TestStepsAreMeansAndGapsStayGaps(t *testing.T) {
	t.Parallel()
	tr := track(2 * time.Second)
	for second, requests := range map[int]float64{0: 10, 1: 30, 2: 7 /* 3 is missing */, 6: 0, 7: 0} {
		tr.Add(window(second, 1, requests))
	}
	if got := steps(tr, 2.4); got != nil {
		t.Errorf("a step was handed out before it settled: %v", got)
	}
	if diff := cmp.Diff(map[int]float64{0: 20}, steps(tr, 6.5)); diff != "" {
		t.Errorf("a step that waits for a window is not held back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int]float64{2: 7, 6: 0}, steps(tr, 9)); diff != "" {
		t.Errorf("half a step counts, none does not (-want +got):\n%s", diff)
	}
	if got := steps(tr, 9.5); got != nil {
		t.Errorf("steps came twice: %v", got)
	}
}

func TestAStepIsTheHighestOfItsParts(t *testing.T) {
	t.Parallel()
	tr := demand.NewTrack(demand.Times{
		Step: 6 * time.Second, Part: 2 * time.Second, Keep: time.Minute, Settle: 500 * time.Millisecond, Patience: 3 * time.Second,
	})
	// The parts of the first step are 20, 35 and half of one; the single second of 90 is a part of its own mean. Of the second
	// step one second is known: too little.
	for second, requests := range map[int]float64{0: 10, 1: 30, 2: 0, 3: 70, 4: 5, 6: 90} {
		tr.Add(window(second, 1, requests))
	}
	if diff := cmp.Diff(map[int]float64{0: 35}, steps(tr, 16)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestATallyOfNothingIsNoStep(t *testing.T) {
	t.Parallel()
	tally := demand.NewTally(epoch, time.Minute, 0)
	if _, known := tally.Step(); known || tally.Complete() {
		t.Error("nothing was seen, and it is known")
	}
	tally.Add(epoch, 20*time.Second, 100)
	if _, known := tally.Step(); known {
		t.Error("a third of the step was seen, and it is known")
	}
	tally.Add(epoch.Add(20*time.Second), 20*time.Second, 300)
	if got, known := tally.Step(); !known || got.PerSecond != 10 || tally.Complete() {
		t.Errorf("%+v, known %t: want the mean over what was seen", got, known)
	}
}

func TestOnlyAHigherRevisionReplaces(t *testing.T) {
	t.Parallel()
	tr := track(time.Second)
	if !tr.Add(window(0, 1, 5)) || tr.Add(window(0, 1, 5)) || !tr.Add(window(0, 3, 9)) || tr.Add(window(0, 2, 7)) {
		t.Fatal("the revision did not decide")
	}
	if diff := cmp.Diff(map[int]float64{0: 9}, steps(tr, 1.5)); diff != "" {
		t.Error(diff)
	}
	if tr.Add(window(0, 3, 9)) || steps(tr, 1.6) != nil {
		t.Error("a repeated window changed something")
	}
	tr.Add(window(0, 4, 10))
	if diff := cmp.Diff(map[int]float64{0: 10}, steps(tr, 1.7)); diff != "" {
		t.Errorf("a revision of a step handed out must hand it out again:\n%s", diff)
	}
	if tr.Missed() {
		t.Error("nothing was missed")
	}
}

func TestWhatTheTrackCannotTellIsMissed(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]demand.Window{
		"older than what is kept":         window(-3600, 1, 5),
		"of a step whose rest is unknown": window(-1, 1, 5),
	} {
		tr := track(2 * time.Second)
		for i := range 4 {
			tr.Add(window(i, 1, 1))
		}
		steps(tr, 5)
		if tr.Missed() {
			t.Fatalf("%s: missed before it came", name)
		}
		tr.Add(late)
		if got := steps(tr, 5); got != nil {
			t.Errorf("%s: handed out %v", name, got)
		}
		if !tr.Missed() || tr.Missed() {
			t.Errorf("%s: must be missed, once", name)
		}
	}
}

func TestAPileOfOldWindowsAtTheStartIsMissed(t *testing.T) {
	t.Parallel()
	tr := track(time.Second)
	for i := range 1000 {
		tr.Add(window(i, 1, float64(i)))
	}
	got := steps(tr, 1000.5)
	if len(got) != 60 || got[999] != 999 || !tr.Missed() {
		t.Errorf("%d steps at the end of a long past, want the newest 60 and word of the rest", len(got))
	}
}

func TestRecentHoldsSettledWindowsOnly(t *testing.T) {
	t.Parallel()
	tr := track(15 * time.Second)
	for i := range 10 {
		tr.Add(window(i, 1, float64(i)))
	}
	got := tr.Recent(at(9.9), 3*time.Second)
	if len(got) != 3 || got[0].Requests != 6 || got[2].Requests != 8 {
		t.Errorf("got %v, want the windows 6, 7 and 8", got)
	}
	tr.Steps(at(120))
	if got := tr.Recent(at(120), time.Hour); got != nil {
		t.Errorf("windows were kept beyond their time: %v", got)
	}
}

func TestResumeHandsOutWhatHistoryMayNotHave(t *testing.T) {
	t.Parallel()
	tr := track(2 * time.Second)
	for i := 1; i < 8; i++ {
		tr.Add(window(i, 1, float64(i)))
	}
	steps(tr, 8.5)
	tr.Resume(at(6))
	// The step at 0 is known in part only: history's is better. Those at 2 and 4 may have been revised since it was read.
	if diff := cmp.Diff(map[int]float64{2: 2.5, 4: 4.5, 6: 6.5}, steps(tr, 8.5)); diff != "" {
		t.Error(diff)
	}
	if tr.Missed() {
		t.Error("what history has told was missed")
	}
}

func TestStepsLieWhereTheDatabaseHasThem(t *testing.T) {
	t.Parallel()
	tr := track(7 * time.Second)
	for i := range 30 {
		tr.Add(window(i, 1, 1))
	}
	for _, s := range tr.Steps(at(30)) {
		if s.Start.Unix()%7 != 0 {
			t.Errorf("step at %s is not a multiple of 7 s since the epoch", s.Start)
		}
	}
}

func TestNothingKnownIsNoSteps(t *testing.T) {
	t.Parallel()
	tr := track(time.Second)
	tr.Add(window(0, 1, 1))
	if got := steps(tr, 3600); got != nil || !tr.Missed() {
		t.Errorf("a window of an hour ago was handed out as %v", got)
	}
}
