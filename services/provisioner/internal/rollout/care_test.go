package rollout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// cluster is a platform as Kubernetes is one: it fences by epoch, knows its surroundings, and resizes one instance first.
type cluster struct {
	state   platform.State
	epoch   uint64
	around  platform.Surroundings
	changes []platform.Change
	slow    bool // what is added does not become ready
	lingers int  // so many are being drained
	err     error
}

func newCluster(instances int, size platform.Size) *cluster {
	c := &cluster{state: platform.State{Size: size}}
	c.resize(instances)
	return c
}

func (c *cluster) resize(instances int) {
	phase := platform.Ready
	if c.slow {
		phase = platform.Starting
	}
	for len(c.state.Instances) < instances {
		c.state.Instances = append(c.state.Instances, platform.Instance{
			ID: fmt.Sprint("i", len(c.state.Instances)), Phase: phase, Size: c.state.Size, StartTime: noon, ReadyTime: noon,
		})
	}
	c.state.Instances, c.state.Desired = c.state.Instances[:instances], instances
}

func (c *cluster) State(context.Context, string) (platform.State, error) {
	s := c.state
	s.Instances = slices.Clone(s.Instances)
	for n := range c.lingers {
		s.Instances = append(s.Instances, platform.Instance{ID: fmt.Sprint("d", n), Phase: platform.Draining})
	}
	return s, c.err
}

func (c *cluster) Surroundings(context.Context, string) (platform.Surroundings, error) {
	return c.around, c.err
}

func (c *cluster) Fence(_ context.Context, _ string, epoch uint64) error {
	c.epoch = max(c.epoch, epoch)
	return c.err
}

func (c *cluster) Scale(ctx context.Context, group string, change platform.Change) (platform.State, error) {
	c.changes = append(c.changes, change)
	if change.Epoch < c.epoch || change.Generation < c.state.Generation || change.ObservedDesired != c.state.Desired {
		return platform.State{}, platform.ErrConflict
	}
	c.state.Generation, c.state.Foreign = change.Generation, false
	c.resize(change.Instances)
	if change.Size != (platform.Size{}) {
		first := c.state.Instances[0].Size == change.Size
		for i := range c.state.Instances {
			if first || i == 0 {
				c.state.Instances[i].Size = change.Size
			}
		}
		if first {
			c.state.Size = change.Size
		}
	}
	return c.State(ctx, group)
}

// users is how they fare: the share of violations from a time on, of 100 requests a second, and before it.
type users struct {
	from          time.Time
	before, since float64
}

func (u *users) Count(_ string, from, to time.Time) (answered, violations uint64) {
	n, share := max(0, to.Sub(from).Seconds())*100, u.since
	if !to.After(u.from) {
		share = u.before
	}
	return uint64(n), uint64(n * share)
}

// carerig is a lane of production on a cluster.
type carerig struct {
	*rig
	cluster *cluster
	users   *users
}

func newCareRig(t *testing.T, instances int, adjust func(*workload.Workload)) *carerig {
	t.Helper()
	w := workload.Default()
	w.Name, w.SLO = "shop", workload.SLO{Quantile: 0.95, Latency: time.Second}
	w.Production = workload.Target{Platform: "kubernetes", Group: "production"}
	w.Instances = workload.Limits{Min: 1, Max: 9}
	w.Guardrails = workload.Guardrails{
		Mode: workload.Automatic, RatePeriod: time.Minute, VerifyTimeout: time.Minute, ManualHold: 5 * time.Minute, Resize: true,
		Rollback: workload.Rollback{Within: 3 * time.Minute, MinRequests: 100, Hold: 10 * time.Minute},
	}
	if adjust != nil {
		adjust(&w)
	}
	j, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &carerig{rig: &rig{t: t, workload: w, journal: j, now: noon.Add(-time.Second), settled: map[string]int{}}, cluster: newCluster(instances, platform.Size{CPUCores: 1})}
	r.users = &users{from: noon}
	r.restart()
	return r
}

// restart makes a new lane that knows only the journal, as after kill -9. It has looked once: what runs then is what was
// wanted before.
func (r *carerig) restart() {
	r.notes = &notes{unready: map[string]string{}}
	r.lane = Production(r.workload, Deps{
		Platform: r.cluster, Journal: r.journal, Records: r.notes, Health: r.notes, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return r.now }, Quality: r.users, Epoch: 3,
	}, func(reason string) { r.settled[reason]++ })
	r.step()
	r.now = r.now.Add(time.Second)
}

// steps lets time pass in steps of a second.
func (r *carerig) steps(n int) {
	for range n {
		r.step()
		r.now = r.now.Add(time.Second)
	}
}

func (r *carerig) last() *foreshadowv1.ScalingApplied {
	r.t.Helper()
	if len(r.notes.records) == 0 {
		r.t.Fatal("nothing was recorded")
	}
	return r.notes.records[len(r.notes.records)-1]
}

func TestChangeThatUsersFeelIsRolledBack(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"by the same process": false, "after kill -9": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 6, nil)
			r.offer(7, 3)
			r.steps(1)
			if r.cluster.state.Desired != 3 || r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_APPLIED {
				t.Fatalf("state %+v, recorded %v", r.cluster.state, r.last())
			}
			r.users.since = 0.3
			if restart {
				r.restart()
			}
			r.steps(3)
			if r.cluster.state.Desired != 6 {
				t.Fatalf("desired %d, want the size from before", r.cluster.state.Desired)
			}
			a := r.last()
			if a.GetOutcome() != foreshadowv1.Outcome_OUTCOME_ROLLED_BACK || a.GetActor() != provisioner || a.GetTo().GetInstances() != 6 ||
				!strings.Contains(a.GetReason(), "30.0 %") || !slices.Equal(a.GetGuardrails(), []string{guardrail.RolledBack}) {
				t.Errorf("recorded %v", a)
			}
			// The size is held: no flapping.
			r.users.since = 0
			r.offer(a.GetGeneration()+1, 3)
			r.steps(1)
			if r.cluster.state.Desired != 6 || r.last().GetGuardrails()[0] != guardrail.RolledBack {
				t.Errorf("desired %d, recorded %v", r.cluster.state.Desired, r.last())
			}
			r.now = r.now.Add(10 * time.Minute)
			r.offer(a.GetGeneration()+2, 3)
			r.steps(1)
			if r.cluster.state.Desired != 3 {
				t.Errorf("desired %d, want it tried again after the hold", r.cluster.state.Desired)
			}
		})
	}
}

func TestHoldDoublesUntilAChangeIsKept(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 6, func(w *workload.Workload) { w.Guardrails.Rollback.Hold = 10 * time.Second })
	generation := uint64(10)
	shrink := func() time.Duration {
		generation += 10
		r.offer(generation, 3)
		r.users.from, r.users.since = r.now, 0
		r.steps(1)
		r.users.since = 0.5
		r.steps(3)
		if r.cluster.state.Desired != 6 {
			t.Fatalf("not rolled back: %+v", r.cluster.state)
		}
		hold := r.lane.state.RolledBack.Until.Sub(r.last().GetCreateTime().AsTime())
		r.now = r.lane.state.RolledBack.Until
		return hold
	}
	var got []time.Duration
	for range 5 {
		got = append(got, shrink())
	}
	if want := []time.Duration{10e9, 20e9, 40e9, 80e9, 80e9}; !slices.Equal(got, want) {
		t.Errorf("holds %v, want %v", got, want)
	}
	r.users.since = 0
	generation += 10
	r.offer(generation, 3)
	r.steps(1)
	r.now = r.now.Add(4 * time.Minute)
	r.steps(1)
	if r.lane.state.Rollbacks != 0 || r.lane.state.Watch != nil {
		t.Errorf("after a change that was kept: %+v", r.lane.state)
	}
}

func TestWhatIsNotRolledBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		to            int32
		before, since float64
		meddle        func(*carerig)
	}{
		"users are well":             {to: 3, since: 0.05},
		"it was as bad before":       {to: 3, before: 0.2, since: 0.3},
		"instances were added":       {to: 8, since: 0.5},
		"too few requests to judge":  {to: 3, since: 0.5, meddle: func(r *carerig) { r.lane.subject.Rules.Rollback.MinRequests = 1e6 }},
		"it is switched off":         {to: 3, since: 0.5, meddle: func(r *carerig) { r.lane.subject.Rules.Rollback.Within = 0 }},
		"a person pauses":            {to: 3, since: 0.5, meddle: func(r *carerig) { _ = r.journal.SetPause("shop", journal.Pause{}) }},
		"a person has come since":    {to: 3, since: 0.5, meddle: func(r *carerig) { r.cluster.resize(4); r.cluster.state.Foreign = true }},
		"it has been long since":     {to: 3, since: 0.5, meddle: func(r *carerig) { r.now = r.now.Add(4 * time.Minute) }},
		"nobody knows how users are": {to: 3, since: 0.5, meddle: func(r *carerig) { r.lane.deps.Quality = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 6, nil)
			r.users.before = test.before
			r.offer(7, test.to)
			r.steps(1)
			r.users.since = test.since
			if test.meddle != nil {
				test.meddle(r)
			}
			before := len(r.cluster.changes)
			r.steps(5)
			if len(r.cluster.changes) != before {
				t.Errorf("changed %+v", r.cluster.changes[before:])
			}
		})
	}
}

// TestChangeThatIsNotVerifiedIsWatched: what drains for longer than the timeout is gone for users all the same.
func TestChangeThatIsNotVerifiedIsWatched(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 6, nil)
	r.cluster.lingers = 3
	r.offer(7, 3)
	r.steps(1)
	r.now = r.now.Add(r.workload.Guardrails.VerifyTimeout)
	r.steps(1)
	if r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_FAILED {
		t.Fatalf("recorded %v", r.last())
	}
	r.users.since = 0.4
	r.steps(3)
	if r.cluster.state.Desired != 6 || r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_ROLLED_BACK {
		t.Errorf("desired %d, recorded %v", r.cluster.state.Desired, r.last())
	}
}

// severed is a cluster whose next changes do not arrive.
type severed struct {
	*cluster
	lost int
}

func (s *severed) Scale(ctx context.Context, group string, c platform.Change) (platform.State, error) {
	if s.lost > 0 {
		s.lost--
		return platform.State{}, errCut
	}
	return s.cluster.Scale(ctx, group, c)
}

func TestRollbackThatNeverArrivedIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"by the same process": false, "after kill -9": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCareRig(t, 6, nil)
			r.offer(7, 3)
			r.steps(1)
			r.users.since = 0.4
			r.now = r.now.Add(2 * time.Second)
			r.lane.deps.Platform = &severed{cluster: r.cluster, lost: 2}
			r.step()
			if restart {
				r.restart()
			}
			r.steps(4)
			if r.cluster.state.Desired != 6 || r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_ROLLED_BACK {
				t.Fatalf("state %+v, recorded %v", r.cluster.state, r.last())
			}
			// What never arrived was no rollback: the hold is that of the first.
			if hold := r.lane.state.RolledBack.Until.Sub(r.last().GetCreateTime().AsTime()); hold != 10*time.Minute {
				t.Errorf("held for %v", hold)
			}
		})
	}
}

// TestRollbackWithinALowerLimit: the file was changed while the change was watched.
func TestRollbackWithinALowerLimit(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{5: 5, 4: 4, 2: 4} {
		r := newCareRig(t, 6, nil)
		r.offer(7, 4)
		r.steps(1)
		r.workload.Instances.Max = limit
		r.restart()
		r.users.since = 0.4
		r.steps(4)
		if r.cluster.state.Desired != want || r.lane.state.Watch != nil {
			t.Errorf("at most %d: %d instances, want %d; watched %v", limit, r.cluster.state.Desired, want, r.lane.state.Watch)
		}
		if want > 4 && r.last().GetOutcome() != foreshadowv1.Outcome_OUTCOME_ROLLED_BACK {
			t.Errorf("at most %d: recorded %v", limit, r.last())
		}
	}
}

func TestPersonsChangeWins(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 2, nil)
	r.offer(7, 4)
	r.steps(1)
	r.cluster.resize(8)
	r.cluster.state.Foreign = true
	r.steps(1)
	for n, restart := range []bool{false, true} {
		if restart {
			r.restart() // a restart must not begin the hold anew
		}
		r.now = r.now.Add(2 * time.Minute)
		r.offer(uint64(10+n), 4)
		r.steps(1)
		if r.cluster.state.Desired != 8 || r.last().GetGuardrails()[0] != guardrail.ManualChange {
			t.Fatalf("desired %d, recorded %v", r.cluster.state.Desired, r.last())
		}
	}
	r.now = r.now.Add(2 * time.Minute)
	r.offer(20, 4)
	r.steps(1)
	if r.cluster.state.Desired != 4 || r.lane.state.Manual != nil && !r.cluster.state.Foreign && r.step() == 0 {
		t.Errorf("desired %d after the hold", r.cluster.state.Desired)
	}
}

func TestOtherControllerIsRefusedClearly(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 2, nil)
	r.cluster.around.Controllers = []string{`HorizontalPodAutoscaler "web" (2 to 10)`}
	r.offer(7, 4)
	r.steps(1)
	a := r.last()
	if len(r.cluster.changes) != 0 || a.GetOutcome() != foreshadowv1.Outcome_OUTCOME_REFUSED ||
		!strings.Contains(a.GetReason(), `HorizontalPodAutoscaler "web" (2 to 10) scales it too: remove it, or set`) {
		t.Errorf("recorded %v", a)
	}
}

func TestSurroundingsThatCannotBeReadChangeNothing(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 4, nil)
	r.offer(7, 2)
	r.lane.deps.Platform = &blind{cluster: r.cluster}
	if r.step() != retryEvery || len(r.cluster.changes) != 0 {
		t.Errorf("changed %+v without having looked around", r.cluster.changes)
	}
	r.lane.deps.Platform = r.cluster
	r.steps(1)
	if r.cluster.state.Desired != 2 {
		t.Error("not considered again")
	}
}

// blind is a cluster whose surroundings cannot be read.
type blind struct{ *cluster }

func (b *blind) Surroundings(context.Context, string) (platform.Surroundings, error) {
	return platform.Surroundings{}, errors.New("forbidden")
}

func TestLeaderFencesBeforeItLooks(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 2, nil)
	r.lane.fenced, r.cluster.epoch, r.cluster.err = false, 0, errCut
	if r.step() != retryEvery {
		t.Error("went on without a fence")
	}
	r.cluster.err = nil
	r.offer(7, 3)
	r.steps(1)
	if r.cluster.epoch != 3 || r.cluster.changes[0].Epoch != 3 {
		t.Errorf("epoch %d, changes %+v", r.cluster.epoch, r.cluster.changes)
	}
	r.cluster.epoch = 4 // another leads
	r.offer(8, 5)
	r.steps(1)
	if r.cluster.state.Desired != 3 || r.last().GetGuardrails()[0] != guardrail.Conflict {
		t.Errorf("desired %d, recorded %v", r.cluster.state.Desired, r.last())
	}
}

// offerSize recommends as many instances as there are, of another size.
func (r *carerig) offerSize(generation uint64, cores float64) {
	r.lane.Offer(&foreshadowv1.Recommendation{
		RecommendationId: "r", Workload: "shop", Generation: generation, ExpireTime: timestamppb.New(r.now.Add(time.Minute)),
		Policy: foreshadowv1.Policy_POLICY_PREDICTIVE, Production: &foreshadowv1.Sizing{Instances: int32(r.cluster.state.Desired), CpuCores: cores},
	})
}

func TestSizesChangeInSteps(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 3, nil)
	r.offerSize(7, 1.5)
	r.step()
	if got := r.cluster.state.Instances; got[0].Size.CPUCores != 1.5 || got[1].Size.CPUCores != 1 {
		t.Fatalf("instances %+v, want one changed first", got)
	}
	r.steps(2)
	a := r.last()
	if !fitted(r.cluster.state, platform.Size{CPUCores: 1.5}) || a.GetOutcome() != foreshadowv1.Outcome_OUTCOME_APPLIED ||
		a.GetFrom().GetCpuCores() != 1 || a.GetTo().GetCpuCores() != 1.5 {
		t.Errorf("state %+v, recorded %v", r.cluster.state, a)
	}
}

func TestSizeThatUsersFeelGoesBack(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 3, nil)
	r.offerSize(7, 0.5)
	r.step()
	r.users.since = 0.9
	r.now = r.now.Add(2 * time.Second)
	r.steps(4)
	if !fitted(r.cluster.state, platform.Size{CPUCores: 1}) {
		t.Errorf("state %+v, want the size from before", r.cluster.state)
	}
	if got := r.outcomes(); !slices.Equal(got, []foreshadowv1.Outcome{foreshadowv1.Outcome_OUTCOME_SUPERSEDED, foreshadowv1.Outcome_OUTCOME_ROLLED_BACK}) {
		t.Errorf("recorded %v", got)
	}
}

func TestSizesAreNotTakenBackWhereRollbacksAreOff(t *testing.T) {
	t.Parallel()
	r := newCareRig(t, 3, func(w *workload.Workload) { w.Guardrails.Rollback = workload.Rollback{} })
	r.offerSize(7, 0.5)
	r.step()
	r.users.since = 0.9
	r.now = r.now.Add(2 * time.Second)
	r.steps(4)
	if !fitted(r.cluster.state, platform.Size{CPUCores: 0.5}) {
		t.Errorf("state %+v, recorded %v", r.cluster.state, r.last())
	}
}
