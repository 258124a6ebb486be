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
