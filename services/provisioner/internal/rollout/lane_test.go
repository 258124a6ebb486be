package rollout

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/local/localtest"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

func TestMain(m *testing.M) {
	localtest.ServeIfAsked()
	goleak.VerifyTestMain(m)
}

// flaky is the real platform behind a connection that fails when told to.
type flaky struct {
	Platform
	// before fails the next call before it reaches the platform, after loses its answer, and meddle comes between.
	before, after error
	meddle        func()
	scales        int
}

func (f *flaky) Scale(ctx context.Context, group string, c platform.Change) (platform.State, error) {
	before, after, meddle := f.before, f.after, f.meddle
	f.before, f.after, f.meddle = nil, nil, nil
	f.scales++
	if meddle != nil {
		meddle()
	}
	if before != nil {
		return platform.State{}, before
	}
	s, err := f.Platform.Scale(ctx, group, c)
	if after != nil {
		return platform.State{}, after
	}
	return s, err
}

// notes keeps what was recorded and reported.
type notes struct {
	mu      sync.Mutex
	records []*foreshadowv1.ScalingApplied
	unready map[string]string
}

func (n *notes) Record(a *foreshadowv1.ScalingApplied) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records = append(n.records, a)
}

func (n *notes) Complete(actions []journal.Action) {
	for _, a := range actions {
		n.Record(a.ScalingApplied)
	}
}

func (n *notes) Ready(part string) { delete(n.unready, part) }

func (n *notes) NotReady(part, reason string) { n.unready[part] = reason }

// rig is a lane of production on a real platform with two instances, stepped by hand at a time of the test's choosing.
type rig struct {
	t        *testing.T
	lane     *Lane
	platform *flaky
	notes    *notes
	journal  *journal.Journal
	workload workload.Workload
	now      time.Time
	settled  map[string]int
}

func newRig(t *testing.T, adjust func(*workload.Workload)) *rig {
	t.Helper()
	w := workload.Default()
	w.Name = "shop"
	w.Production = workload.Target{Platform: "local", Group: "production", Process: localtest.Process(0, 2)}
	w.Instances = workload.Limits{Min: 1, Max: 9}
	w.Guardrails = workload.Guardrails{Mode: workload.Automatic, RatePeriod: time.Minute, VerifyTimeout: time.Minute}
	if adjust != nil {
		adjust(&w)
	}
	client := localtest.Run(t, map[string]workload.Process{"production": w.Production.Process})
	localtest.Await(t, client, "production", "the initial instances", localtest.Ready(2))
	r := &rig{t: t, platform: &flaky{Platform: client}, workload: w, now: noon, settled: map[string]int{}}
	j, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r.journal = j
	r.restart()
	return r
}

// restart makes a new lane that knows only the journal, as after kill -9.
func (r *rig) restart() {
	r.notes = &notes{unready: map[string]string{}}
	r.lane = Production(r.workload, Deps{
		Platform: r.platform, Journal: r.journal, Records: r.notes, Health: r.notes, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return r.now },
	}, func(reason string) { r.settled[reason]++ })
}

func (r *rig) offer(generation uint64, instances int32) {
	r.lane.Offer(&foreshadowv1.Recommendation{
		RecommendationId: "r", Workload: "shop", Generation: generation, ExpireTime: timestamppb.New(r.now.Add(time.Minute)),
		Production: &foreshadowv1.Sizing{Instances: instances}, Policy: foreshadowv1.Policy_POLICY_PREDICTIVE,
	})
}

func (r *rig) step() time.Duration { return r.lane.step(r.t.Context()) }

func (r *rig) state() platform.State {
	r.t.Helper()
	s, err := r.platform.State(r.t.Context(), "production")
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// verify steps until nothing is under way.
func (r *rig) verify() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	for len(r.lane.state.Flights) > 0 {
		timer := time.NewTimer(min(r.step(), verifyEvery)) // the step that ends it would have one wait for the next change
		select {
		case <-timer.C:
		case <-ctx.Done():
			r.t.Fatalf("not verified: %+v", r.state())
		}
	}
}

// outcomes are those of the records so far.
// TestEveryProposalIsRecorded: also one that comes back within a minute, for without its record nobody knows what it is about.
func TestEveryProposalIsRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(w *workload.Workload) { w.Guardrails.Mode = workload.Approve })
	for generation, instances := range []int32{4, 4, 2, 4} {
		r.offer(uint64(generation+1), instances) // #nosec G115
		r.step()
		r.now = r.now.Add(5 * time.Second)
	}
	awaiting := foreshadowv1.Outcome_OUTCOME_AWAITING_APPROVAL
	if got := r.outcomes(); !slices.Equal(got, []foreshadowv1.Outcome{awaiting, awaiting}) {
		t.Errorf("records %v, want one of each proposal", got)
	}
}

func TestAChangeIsExplainedByWhatItIsAbout(t *testing.T) {
	t.Parallel()
	o := &order{recommendation: &foreshadowv1.Recommendation{Reasons: []*foreshadowv1.Reason{
		{Code: string(scaling.DemandMissing), Text: "nothing is released"}, {Code: string(scaling.ShadowAwake), Text: "it is awake to measure"},
	}}}
	for environment, want := range map[foreshadowv1.Environment]string{
		foreshadowv1.Environment_ENVIRONMENT_PRODUCTION: "nothing is released",
		foreshadowv1.Environment_ENVIRONMENT_SHADOW:     "it is awake to measure",
	} {
		l := &Lane{spec: spec{environment: environment}}
		if got := l.action(o, guardrail.Verdict{Target: 1}, platform.State{}, time.Now()).GetReason(); got != want {
			t.Errorf("%s: reason %q, want %q", environment, got, want)
		}
	}
}

func (r *rig) outcomes() []foreshadowv1.Outcome {
	out := make([]foreshadowv1.Outcome, 0, len(r.notes.records))
	for _, a := range r.notes.records {
		out = append(out, a.GetOutcome())
	}
	return out
}

var errCut = errors.New("connection cut")

func TestLostCallIsMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.platform.before = errCut
	r.offer(7, 4)
	if r.step() != retryEvery || len(r.notes.unready) != 1 {
		t.Errorf("unready %v, want the platform named", r.notes.unready)
	}
	r.step()
	r.verify()
	if s := r.state(); s.Desired != 4 || r.platform.scales != 2 || len(r.notes.unready) != 0 {
		t.Errorf("state %+v after %d calls, unready %v", s, r.platform.scales, r.notes.unready)
	}
	if got := r.outcomes(); !slices.Equal(got, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_APPLIED}) {
		t.Errorf("recorded %v, want the change once", got)
	}
}

func TestLostAnswerIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"by the same process": false, "after kill -9": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.platform.after = errCut
			r.offer(7, 4)
			r.step()
			if restart {
				r.restart()
			}
			r.step()
			r.verify()
			if r.platform.scales != 1 {
				t.Errorf("the platform was asked %d times for what it had accepted", r.platform.scales)
			}
			if len(r.notes.records) != 1 || r.notes.records[0].GetOutcome() != foreshadowv1.Outcome_OUTCOME_APPLIED ||
				r.notes.records[0].GetActionId() != "shop/production/7" || r.notes.records[0].GetFrom().GetInstances() != 2 {
				t.Errorf("recorded %v, want the change once", r.notes.records)
			}
			if left := r.journal.Unrecorded(); len(left) != 1 {
				t.Errorf("the journal holds %v until it is published, want the change", left)
			}
		})
	}
}

func TestConflictIsRefusedOnceAndPlannedAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	meddle := func() {
		// A person asks for three while the provisioner decides upon two.
		s := r.state()
		if _, err := r.platform.Platform.Scale(t.Context(), "production", platform.Change{Instances: s.Desired + 1, Generation: s.Generation, ObservedDesired: s.Desired}); err != nil {
			t.Error(err)
		}
	}
	for generation := range uint64(2) {
		r.platform.meddle = meddle
		r.offer(7+generation, 6)
		r.step()
	}
	if s := r.state(); s.Desired != 4 || s.Generation != 0 {
		t.Errorf("state %+v, want what the person asked for", s)
	}
	if got := r.outcomes(); !slices.Equal(got, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_REFUSED}) || !slices.Equal(r.notes.records[0].GetGuardrails(), []string{"conflict"}) {
		t.Errorf("recorded %v, want the conflict once", r.notes.records)
	}
	r.offer(9, 6)
	r.step()
	if s := r.state(); s.Desired != 6 || s.Generation != 9 {
		t.Errorf("state %+v, want the next recommendation carried out", s)
	}
	if r.settled[""] != 3 {
		t.Errorf("settled %v, want three considered", r.settled)
	}
}

func TestRestartDoesNotForgetWhatWasWanted(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(w *workload.Workload) { w.Guardrails.StabiliseDown = time.Minute })
	r.offer(7, 1)
	r.step()
	if s := r.state(); s.Desired != 2 || !slices.Equal(r.notes.records[0].GetGuardrails(), []string{"stabilise_down"}) {
		t.Errorf("state %+v, records %v: the first recommendation after the start shrank production", s, r.notes.records)
	}
	r.now = noon.Add(2 * time.Minute)
	r.offer(8, 1)
	r.step()
	if s := r.state(); s.Desired != 1 {
		t.Errorf("state %+v, want it smaller once the window has passed", s)
	}
}

func TestSameRefusalIsRecordedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(w *workload.Workload) { w.Instances.Max = 2 })
	for second := range uint64(90) {
		r.now = noon.Add(time.Duration(second) * time.Second)
		r.offer(7+second, 5)
		r.step()
	}
	if got := r.outcomes(); len(got) != 1 {
		t.Errorf("recorded %d times", len(got))
	}
	r.offer(1000, -1) // another reason
	r.step()
	r.now = r.now.Add(2 * saidFor) // the first again, long after
	r.offer(1001, 5)
	r.step()
	if got := r.outcomes(); len(got) != 3 {
		t.Errorf("recorded %v", r.notes.records)
	}
}

func TestNewestRecommendationWins(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.offer(8, 3)
	r.offer(7, 5)
	r.step()
	if s := r.state(); s.Desired != 3 || s.Generation != 8 {
		t.Errorf("state %+v, want the newest carried out", s)
	}
	if r.settled[""] != 1 || r.settled["superseded"] != 1 {
		t.Errorf("settled %v", r.settled)
	}
}

func TestPauseComesBetweenDecisionAndCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	st := r.state()
	r.lane.wanted = nil
	r.offer(7, 4)
	// The decision was made, and then the workload was paused, before the platform is asked.
	o := r.lane.next()
	if err := r.journal.SetPause("shop", journal.Pause{Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	r.lane.Barrier()
	v := verdictTo(4)
	if !r.lane.apply(t.Context(), o, v, st, r.now) {
		t.Error("the order is to be considered again")
	}
	if r.platform.scales != 0 || len(r.lane.state.Flights) != 0 {
		t.Errorf("asked the platform %d times, %d changes under way", r.platform.scales, len(r.lane.state.Flights))
	}
}

func verdictTo(target int) guardrail.Verdict {
	return guardrail.Verdict{Kind: guardrail.Apply, Target: target}
}

// TestAPolicyThatIsNotKnownRemovesNothing: one of a newer predictor, or none. It may add: that does no harm.
func TestAPolicyThatIsNotKnownRemovesNothing(t *testing.T) {
	t.Parallel()
	for _, policy := range []foreshadowv1.Policy{99, foreshadowv1.Policy_POLICY_UNSPECIFIED, foreshadowv1.Policy_POLICY_HOLD} {
		r := newRig(t, nil)
		offer := func(generation uint64, instances int32) {
			o := &foreshadowv1.Recommendation{
				RecommendationId: "r", Workload: "shop", Generation: generation, ExpireTime: timestamppb.New(r.now.Add(time.Minute)),
				Production: &foreshadowv1.Sizing{Instances: instances}, Policy: policy,
			}
			// What it says besides, in a field that is not known, is nothing to act upon.
			o.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 1))
			r.lane.Offer(o)
			r.step()
			r.verify()
		}
		offer(7, 1)
		if s := r.state(); s.Desired != 2 {
			t.Errorf("%v: %d instances of 2", policy, s.Desired)
		}
		if n := len(r.notes.records); n != 1 || !slices.Contains(r.notes.records[0].GetGuardrails(), guardrail.Hold) {
			t.Errorf("%v: recorded %v", policy, r.notes.records)
		}
		offer(8, 3)
		if s := r.state(); s.Desired != 3 {
			t.Errorf("%v: %d instances, 3 recommended", policy, s.Desired)
		}
	}
}
