package provisioner

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/local/localtest"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestScalesUpAndDown(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := b.recommend(5, 1)
	up := b.action(production, applied)
	if s := b.state("production"); s.Ready() != 5 {
		t.Errorf("called applied with %d of 5 ready", s.Ready())
	}
	if up.GetFrom().GetInstances() != 3 || up.GetTo().GetInstances() != 5 || up.GetRecommendationId() != r.GetRecommendationId() ||
		up.GetGeneration() != r.GetGeneration() || up.GetActor() != "predictor" || up.GetReason() != "because of the test" {
		t.Errorf("record of the scale-up: %v", up)
	}
	if up.GetStartupSeconds() < 0.05 || up.GetStartupSeconds() > up.GetCompleteTime().AsTime().Sub(up.GetCreateTime().AsTime()).Seconds() {
		t.Errorf("start-up of %v s, want at least the 0.05 s an instance takes and at most the whole change", up.GetStartupSeconds())
	}
	localtest.Await(t, b.platform, "shadow", "the shadow to wake", localtest.Ready(1))

	b.recommend(2, 0)
	down := b.action(production, applied)
	if s := b.state("production"); len(s.Instances) != 2 {
		t.Errorf("called applied with %d instances left of 2", len(s.Instances))
	}
	if down.GetStartupSeconds() != 0 || down.GetTo().GetInstances() != 2 {
		t.Errorf("record of the scale-down: %v", down)
	}
	localtest.Await(t, b.platform, "shadow", "the shadow to sleep", localtest.Ready(0))

	got, err := b.client.ListActions(t.Context(), &foreshadowv1.ListActionsRequest{Workload: b.workload.Name, PageSize: 1})
	if err != nil || len(got.GetActions()) != 1 || got.GetNextPageToken() == "" {
		t.Fatalf("first page %v, %v", got, err)
	}
	rest, err := b.client.ListActions(t.Context(), &foreshadowv1.ListActionsRequest{Workload: b.workload.Name, PageToken: got.GetNextPageToken()})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(rest.GetActions(), func(a *foreshadowv1.ScalingApplied) bool { return a.GetActionId() == up.GetActionId() }) {
		t.Errorf("the scale-up is not listed: %v", rest)
	}
	if l := b.admin.Ledgers()[0]; !l.Balanced() || l.Passed != 2 {
		t.Errorf("ledger %+v, want both recommendations passed", l)
	}
}

func TestHigherRecommendationTakesOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *workload.Workload) {
		// Long enough for the second recommendation to come in between.
		w.Production.Process = localtest.Process(time.Second, 3)
	})
	first := b.recommend(4, 0)
	localtest.Await(t, b.platform, "production", "the first change", func(s platform.State) bool { return s.Desired == 4 })
	second := b.recommend(6, 0)
	superseded := b.action(production, foreshadowv1.Outcome_OUTCOME_SUPERSEDED)
	if superseded.GetGeneration() != first.GetGeneration() {
		t.Errorf("superseded %v, want the first", superseded)
	}
	done := b.action(production, applied)
	if done.GetGeneration() != second.GetGeneration() || done.GetFrom().GetInstances() != 4 || done.GetTo().GetInstances() != 6 || done.GetStartupSeconds() < 1 {
		t.Errorf("applied %v, want the second, from 4 to 6, with a start-up of a second", done)
	}
}

func TestWhatMustNotBeCarriedOutChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	before := b.state("production")
	for name, test := range map[string]struct {
		adjust func(*foreshadowv1.Recommendation)
		hit    string
	}{
		"expired":      {func(r *foreshadowv1.Recommendation) { r.ExpireTime = timestamppb.New(time.Now().Add(-time.Second)) }, "expired"},
		"no size":      {func(r *foreshadowv1.Recommendation) { r.Production = nil }, "invalid"},
		"not a number": {func(r *foreshadowv1.Recommendation) { r.Production.CpuCores = math.NaN() }, "invalid"},
		"zero":         {func(r *foreshadowv1.Recommendation) { r.Production.Instances = 0 }, "invalid"},
	} {
		r := b.recommend(5, 0, test.adjust)
		got := b.wait(r)
		if got != nil && (got.GetOutcome() != refused || !slices.Contains(got.GetGuardrails(), test.hit)) {
			t.Errorf("%s: %v, want it refused by %s", name, got, test.hit)
		}
	}
	if after := b.state("production"); after.Desired != before.Desired || after.Generation != before.Generation {
		t.Errorf("changed from %+v to %+v", before, after)
	}
}

func TestDryRunPlansProductionAndMeasuresInTheShadow(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *workload.Workload) { w.Guardrails.Mode = workload.DryRun })
	b.recommend(5, 1)
	var plan, wake *foreshadowv1.ScalingApplied
	for range 2 {
		if a := <-b.actions; a.GetEnvironment() == production {
			plan = a
		} else {
			wake = a
		}
	}
	if plan.GetOutcome() != foreshadowv1.Outcome_OUTCOME_DRY_RUN || !slices.Contains(plan.GetGuardrails(), "dry_run") || plan.GetTo().GetInstances() != 5 {
		t.Errorf("record %v, want 5 instances of production planned", plan)
	}
	if p := b.state("production"); p.Generation != 0 || p.Desired != 3 {
		t.Errorf("production %+v, want it untouched", p)
	}
	if s := b.state("shadow"); wake.GetOutcome() != applied || s.Desired != 1 || s.Ready() != 1 {
		t.Errorf("record %v, shadow %+v: want it awake, for it is what measures", wake, s)
	}
}

func TestPauseHoldsOverRestarts(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	ctx := t.Context()
	paused, err := b.client.PauseProvisioning(ctx, &foreshadowv1.PauseProvisioningRequest{Workload: b.workload.Name, Reason: "sale", Actor: "ada"})
	if err != nil || !paused.GetStatus().GetPaused() {
		t.Fatalf("pause = %v, %v", paused, err)
	}
	b.recommend(5, 1)
	if a := b.action(production, refused); !slices.Contains(a.GetGuardrails(), "pause") {
		t.Errorf("record %v, want the pause named", a)
	}
	b.stop()
	b.start()
	got, err := b.client.GetProvisioningStatus(ctx, &foreshadowv1.GetProvisioningStatusRequest{Workload: b.workload.Name})
	if st := got.GetStatus(); err != nil || !st.GetPaused() || st.GetPauseReason() != "sale" || st.GetPauseActor() != "ada" ||
		st.GetProduction().GetInstances() != 3 || st.GetProductionReadyInstances() != 3 || st.GetMode() != foreshadowv1.Mode_MODE_AUTOMATIC {
		t.Errorf("status after the restart %v, %v", got, err)
	}
	b.recommend(5, 1)
	b.action(production, refused)
	if s := b.state("production"); s.Desired != 3 || s.Generation != 0 {
		t.Errorf("paused production became %+v", s)
	}
	if _, err := b.client.ResumeProvisioning(ctx, &foreshadowv1.ResumeProvisioningRequest{Workload: b.workload.Name}); err != nil {
		t.Fatal(err)
	}
	b.recommend(5, 1)
	b.action(production, applied)
}

func TestApproval(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *workload.Workload) { w.Guardrails.Mode = workload.Approve })
	ctx := t.Context()
	approve := func(id, actor string) codes.Code {
		_, err := b.client.ApproveRecommendation(ctx, &foreshadowv1.ApproveRecommendationRequest{
			Workload: b.workload.Name, RecommendationId: id, Actor: actor,
		})
		return status.Code(err)
	}
	first := b.recommend(4, 1)
	b.action(shadow, applied) // the shadow serves nobody and waits for nobody
	proposal := b.recommend(5, 1)
	b.until("the proposal", func() bool {
		got, err := b.client.GetProvisioningStatus(ctx, &foreshadowv1.GetProvisioningStatusRequest{Workload: b.workload.Name})
		return err == nil && slices.Equal(got.GetStatus().GetAwaitingRecommendationIds(), []string{proposal.GetRecommendationId()})
	})
	renewed := b.recommend(5, 1)
	b.wait(renewed)
	if s := b.state("production"); s.Generation != 0 {
		t.Fatalf("production was changed without approval: %+v", s)
	}
	for _, test := range []struct {
		id, actor string
		want      codes.Code
	}{
		{"", "ada", codes.InvalidArgument},
		{proposal.GetRecommendationId(), "", codes.InvalidArgument},
		{"r-unknown", "ada", codes.NotFound},
		{first.GetRecommendationId(), "ada", codes.FailedPrecondition},
		{proposal.GetRecommendationId(), "ada", codes.OK},
		{proposal.GetRecommendationId(), "bob", codes.FailedPrecondition},
	} {
		if got := approve(test.id, test.actor); got != test.want {
			t.Errorf("approval of %q by %q: %v, want %v", test.id, test.actor, got, test.want)
		}
	}
	if a := b.action(production, applied); a.GetActor() != "ada" || a.GetTo().GetInstances() != 5 || a.GetGeneration() != renewed.GetGeneration() {
		t.Errorf("record %v, want it in ada's name and of the newest recommendation", a)
	}
}

func TestSomebodyElsesChangeIsSeen(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *workload.Workload) { w.Production.Process = localtest.Process(time.Second, 3) })
	r := b.recommend(5, 0)
	localtest.Await(t, b.platform, "production", "the change", func(s platform.State) bool { return s.Desired == 5 })
	// A person changes the size while the change is being verified.
	if _, err := b.platform.Scale(t.Context(), "production", platform.Change{Instances: 4, Generation: r.GetGeneration() + 1, ObservedDesired: 5}); err != nil {
		t.Fatal(err)
	}
	if a := b.action(production, foreshadowv1.Outcome_OUTCOME_SUPERSEDED); !strings.Contains(a.GetReason(), "someone else asked for 4") {
		t.Errorf("record %v", a)
	}
}

func TestChangeUnderWayIsFinishedByTheNextProcess(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *workload.Workload) { w.Production.Process = localtest.Process(time.Second, 3) })
	r := b.recommend(5, 0)
	localtest.Await(t, b.platform, "production", "the change", func(s platform.State) bool { return s.Desired == 5 })
	b.stop()
	if s := b.state("production"); s.Ready() == 5 {
		t.Fatal("the change was complete before the provisioner stopped, so that this shows nothing")
	}
	b.start()
	if a := b.action(production, applied); a.GetGeneration() != r.GetGeneration() || a.GetFrom().GetInstances() != 3 || a.GetStartupSeconds() < 1 {
		t.Errorf("record %v, want that of the change begun before the restart", a)
	}
}

func TestChangeUnderWayOfAWorkloadThatIsGoneIsRecorded(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *workload.Workload) { w.Production.Process = localtest.Process(3*time.Second, 3) })
	r := b.recommend(5, 0)
	localtest.Await(t, b.platform, "production", "the change", func(s platform.State) bool { return s.Desired == 5 })
	b.stop()
	if s := b.state("production"); s.Ready() == 5 {
		t.Fatal("the change was complete before the provisioner stopped, so that this shows nothing")
	}
	b.gone = true
	b.start()
	if a := b.action(production, foreshadowv1.Outcome_OUTCOME_FAILED); a.GetGeneration() != r.GetGeneration() || !strings.Contains(a.GetReason(), "not declared") {
		t.Errorf("record %v, want that of the change that nobody sees the end of", a)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	ctx := t.Context()
	long := strings.Repeat("x", 1001)
	for name, test := range map[string]struct {
		call func() error
		want codes.Code
		text string
	}{
		"no workload": {func() error {
			_, err := b.client.GetProvisioningStatus(ctx, &foreshadowv1.GetProvisioningStatusRequest{})
			return err
		}, codes.InvalidArgument, "workload"},
		"unknown workload": {func() error {
			_, err := b.client.ResumeProvisioning(ctx, &foreshadowv1.ResumeProvisioningRequest{Workload: "nobody"})
			return err
		}, codes.NotFound, "nobody"},
		"long reason": {func() error {
			_, err := b.client.PauseProvisioning(ctx, &foreshadowv1.PauseProvisioningRequest{Workload: b.workload.Name, Reason: long})
			return err
		}, codes.InvalidArgument, "reason"},
		"page size": {func() error {
			_, err := b.client.ListActions(ctx, &foreshadowv1.ListActionsRequest{Workload: b.workload.Name, PageSize: -1})
			return err
		}, codes.InvalidArgument, "page_size"},
		"page token": {func() error {
			_, err := b.client.ListActions(ctx, &foreshadowv1.ListActionsRequest{Workload: b.workload.Name, PageToken: "x"})
			return err
		}, codes.InvalidArgument, "page_token"},
	} {
		err := test.call()
		if status.Code(err) != test.want || !strings.Contains(status.Convert(err).Message(), test.text) {
			t.Errorf("%s: %v, want %v naming %q", name, err, test.want, test.text)
		}
	}
}

func TestConfigFaultsNameTheirKey(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Listen: "nowhere"}.Validate()
	for _, key := range []string{"provisioner.listen", "provisioner.admin", "provisioner.history", "provisioner.state_dir"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
	if _, err := New(Config{}, Deps{}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("New = %v with an empty configuration", err)
	}
}
