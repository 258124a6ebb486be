// Package rollout carries recommendations out on one environment of one workload: observe, check, write down, ask the
// platform, verify, record. One Lane does so for one environment, one step after the other.
//
//	          newest recommendation
//	                  │
//	platform ──▶ observe ──▶ settle what is under way ──▶ guardrail.Check ──▶ refuse, plan, propose: record
//	    ▲                        │  verified, failed,           │ apply
//	    │                        ▼  or superseded               ▼
//	    │                     record                   journal, then Scale
//	    └─────────────────────────────────────────────────────┘
//
// A change is in the journal before the platform is asked and leaves it when its record is published. So whatever is killed
// when, each change the platform accepted is recorded at least once, under the same action ID, and the platform itself says
// after a restart whether it had accepted: its generation is that of the change.
//
// A change that cannot be verified in time is recorded as failed and stays: to take instances back because some are late
// would leave users with fewer still. A change that removed something is watched for a while after it; when users feel it, it
// is undone, and the size from before is held.
package rollout

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

// Platform is where the instances run.
type Platform interface {
	State(ctx context.Context, group string) (platform.State, error)
	Scale(ctx context.Context, group string, change platform.Change) (platform.State, error)
}

// Surveyor is a Platform that knows what besides a group bounds a change of it.
type Surveyor interface {
	Surroundings(ctx context.Context, group string) (platform.Surroundings, error)
}

// Fencer is a Platform that can be told which leadership is the present one.
type Fencer interface {
	Fence(ctx context.Context, group string, epoch uint64) error
}

// Quality counts how users fared.
type Quality interface {
	// Count returns the requests of a workload that were answered within a time, and those of them that broke the SLO.
	Count(workload string, from, to time.Time) (answered, violations uint64)
}

// Records takes what was done and refused.
type Records interface {
	// Record publishes a refusal, a plan or a proposal; it may be lost with the process.
	Record(*foreshadowv1.ScalingApplied)
	// Complete publishes changes that the journal holds as unrecorded.
	Complete([]journal.Action)
}

// Health takes whether a part can do its work.
type Health interface {
	Ready(part string)
	NotReady(part, reason string)
}

// Deps is what a lane works with.
type Deps struct {
	Platform Platform
	Journal  *journal.Journal
	Records  Records
	Health   Health
	Log      *slog.Logger
	Now      func() time.Time
	// Quality may be nil; nothing is rolled back then.
	Quality Quality
	// Epoch of the leadership that the lanes work under; 0 when nobody else can lead.
	Epoch uint64
}

const (
	// verifyEvery is the time between two looks at a change under way on this machine; elsewhere each costs somebody else.
	verifyEvery       = 200 * time.Millisecond
	verifyEveryRemote = time.Second
	// idleEvery is the time between two looks when nothing is to be done, so that a platform that is away is known.
	idleEvery = 5 * time.Second
	// retryEvery is the time between two tries while the platform is away.
	retryEvery  = 500 * time.Millisecond
	callTimeout = 10 * time.Second
	// predictor is the actor of what no person asked for.
	predictor = "predictor"
)

// Lane is one environment of one workload.
type Lane struct {
	spec
	deps     Deps
	log      *slog.Logger
	workload string
	wake     chan struct{} // capacity 1

	// gate is held from the last look at the pause to the end of the call that changes the platform.
	gate sync.Mutex

	// These belong to the goroutine of Run.
	state  journal.Lane
	wanted []guardrail.Want
	said   map[string]time.Time
	away   map[string]bool // what the lane needs and has not
	fenced bool

	mu       sync.Mutex
	newest   *order
	approval *order
	proposal *proposal
	late     []string // proposals that cannot be approved any more
}

// spec is in what lanes differ.
type spec struct {
	name        string // workload/environment, which begins its action IDs
	environment foreshadowv1.Environment
	group       string
	subject     guardrail.Subject
	settled     func(reason string)
	slo         workload.SLO
	verifyEvery time.Duration
}

// Production returns the lane of the environment that users are served by. settled is called for each recommendation that
// was offered, with "" when it was considered and with a reason when it was not.
func Production(w workload.Workload, deps Deps, settled func(reason string)) *Lane {
	return newLane(w, deps, spec{
		name: w.Name + "/production", environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, group: w.Production.Group,
		subject: subject(w), settled: settled, slo: w.SLO, verifyEvery: pace(w.Production),
	})
}

func subject(w workload.Workload) guardrail.Subject {
	return guardrail.Subject{
		Limits: w.Instances, Rules: w.Guardrails, Prices: w.Prices,
		Declared: platform.Size{CPUCores: w.Production.CPUCores, MemoryBytes: w.Production.MemoryBytes},
	}
}

// Judged returns what the guardrails judge of a workload and of a recommendation of its production.
func Judged(w workload.Workload, r *foreshadowv1.Recommendation) (guardrail.Subject, guardrail.Recommendation) {
	l := &Lane{spec: spec{environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION}}
	return subject(w), l.newOrder(r).size
}

// Shadow returns the lane of the shadow. It serves nobody: so it is not stabilised, not bounded in step or rate, and acts in a
// dry run and without approval too. Else a dry run could never say what an instance carries.
func Shadow(w workload.Workload, deps Deps) *Lane {
	rules := workload.Guardrails{
		Mode: workload.Automatic, RatePeriod: w.Guardrails.RatePeriod, VerifyTimeout: w.Guardrails.VerifyTimeout,
		Resize: w.Guardrails.Resize, // its instances are to be like production's
	}
	return newLane(w, deps, spec{
		name: w.Name + "/shadow", environment: foreshadowv1.Environment_ENVIRONMENT_SHADOW, group: w.Shadow.Group,
		subject: guardrail.Subject{Limits: w.ShadowInstances, MaySleep: true, Rules: rules}, settled: func(string) {},
		verifyEvery: pace(w.Shadow),
	})
}

// pace is the time between two looks at a change under way.
func pace(t workload.Target) time.Duration {
	if t.Platform == workload.PlatformLocal {
		return verifyEvery
	}
	return verifyEveryRemote
}

func newLane(w workload.Workload, deps Deps, s spec) *Lane {
	return &Lane{
		spec: s, deps: deps, log: deps.Log.With("workload", w.Name, "environment", s.environment.String()), workload: w.Name,
		wake: make(chan struct{}, 1), state: deps.Journal.Lane(s.name), said: map[string]time.Time{}, away: map[string]bool{},
	}
}

// order is a recommendation to be carried out, and who says so.
type order struct {
	recommendation *foreshadowv1.Recommendation
	size           guardrail.Recommendation
	actor          string
	// approved, and the target that was.
	approved bool
	target   int
}

// newOrder takes from a recommendation what concerns the lane. A size that is missing becomes one that is refused.
func (l *Lane) newOrder(r *foreshadowv1.Recommendation) *order {
	sizing := r.GetProduction()
	if l.environment == foreshadowv1.Environment_ENVIRONMENT_SHADOW {
		sizing = r.GetShadow()
	}
	o := &order{recommendation: r, actor: predictor, size: guardrail.Recommendation{
		Instances: int(sizing.GetInstances()), CPUCores: sizing.GetCpuCores(),
		MemoryBytes: sizing.GetMemoryBytes(), NetworkBytesPerSecond: sizing.GetNetworkBytesPerSecond(), Generation: r.GetGeneration(),
		Hold: !judged(r.GetPolicy()),
	}}
	if sizing == nil {
		o.size.Instances = math.MinInt32
	}
	if t := r.GetExpireTime(); t.IsValid() {
		o.size.ExpireTime = t.AsTime()
	}
	return o
}

// judged says whether a recommendation was made with the data to judge. One by a policy that is not known here, of a newer
// predictor for example, may not have been: it must not remove anything.
func judged(p foreshadowv1.Policy) bool {
	return p == foreshadowv1.Policy_POLICY_REACTIVE || p == foreshadowv1.Policy_POLICY_PREDICTIVE
}

// Offer hands a recommendation over. One that was not considered yet gives way to a newer one.
func (l *Lane) Offer(r *foreshadowv1.Recommendation) {
	l.mu.Lock()
	old, next := l.newest, l.newOrder(r)
	if old != nil && old.size.Generation > next.size.Generation {
		old, next = next, old
	}
	l.newest = next
	l.mu.Unlock()
	if old != nil {
		l.settled("superseded")
	}
	l.nudge()
}

func (l *Lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// next is what to consider: a person's approval first.
func (l *Lane) next() *order {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.approval != nil {
		return l.approval
	}
	return l.newest
}

// done takes an order away that was considered.
func (l *Lane) done(o *order) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.approval == o {
		l.approval = nil
	}
	if l.newest == o {
		l.newest = nil
		l.settled("")
	}
}

// Group names the instances on the platform.
func (l *Lane) Group() string { return l.group }

// Generation is that of the last recommendation acted upon.
func (l *Lane) Generation() uint64 { return l.deps.Journal.Lane(l.name).Generation }

// Barrier returns when every change that began before the call has ended; after a pause was written down, nothing is changed
// once it has returned.
func (l *Lane) Barrier() {
	l.gate.Lock()
	defer l.gate.Unlock()
}

// Run works until ctx ends.
func (l *Lane) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		timer := time.NewTimer(l.step(ctx))
		select {
		case <-l.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// step looks once, does what is due, and returns when to look again.
func (l *Lane) step(ctx context.Context) time.Duration {
	if err := l.fence(ctx); err != nil {
		return retryEvery
	}
	st, err := l.observe(ctx)
	if err != nil {
		return retryEvery
	}
	if l.followClock(ctx) != nil || l.settle(ctx, st) != nil || l.noteManual(ctx, st) != nil {
		return retryEvery
	}
	if begun, err := l.rollBack(ctx, st); err != nil || begun {
		return l.verifyEvery
	}
	l.proceed(ctx, st)
	// Taken after the observation, so that what is decided is not older than what is known.
	if o := l.next(); o != nil {
		if !l.consider(ctx, o, st) {
			return retryEvery
		}
		l.done(o)
		if l.next() != nil {
			l.nudge()
		}
	}
	if len(l.state.Flights) > 0 || l.state.Watch != nil {
		return l.verifyEvery
	}
	return idleEvery
}

func (l *Lane) observe(ctx context.Context) (platform.State, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	st, err := l.deps.Platform.State(call, l.group)
	l.report(ctx, thePlatform, err)
	if err == nil && l.wanted == nil {
		// After a start nothing is known of what was wanted before, so that what runs counts as wanted.
		l.wanted = []guardrail.Want{{Time: l.deps.Now(), Instances: st.Desired}}
	}
	return st, err
}

// Parts that a lane needs.
const (
	thePlatform = "platform"
	theJournal  = "journal"
)

// report tells readiness and the log when a part goes away or comes back.
func (l *Lane) report(ctx context.Context, part string, err error) {
	if ctx.Err() != nil || (err != nil) == l.away[part] {
		return
	}
	l.away[part] = err != nil
	if err == nil {
		l.log.Info("provisioning goes on", "reason", part+" is back")
		l.deps.Health.Ready(l.name + ": " + part)
		return
	}
	l.log.Warn("provisioning stalled, retrying", "reason", part, "err", err)
	l.deps.Health.NotReady(l.name+": "+part, err.Error())
}

// commit makes a state durable before it is acted upon, and hands on what became complete with it.
func (l *Lane) commit(ctx context.Context, next journal.Lane, complete []journal.Action) error {
	err := l.deps.Journal.SetLane(l.name, next, complete)
	l.report(ctx, theJournal, err)
	if err != nil {
		return fmt.Errorf("write down %s: %w", l.name, err)
	}
	l.state = next
	if len(complete) > 0 {
		l.deps.Records.Complete(complete)
	}
	for _, a := range complete {
		l.log.Info("change complete", "outcome", a.GetOutcome().String(), "desired", a.GetTo().GetInstances(),
			"recommendation_id", a.GetRecommendationId(), "reason", a.GetReason(),
			"duration_ms", a.GetCompleteTime().AsTime().Sub(a.GetCreateTime().AsTime()).Milliseconds())
	}
	return nil
}

// settle moves what is under way on by what the platform reports.
func (l *Lane) settle(ctx context.Context, st platform.State) error {
	next, complete, changed := settle(l.state, st, l.subject.Rules, l.deps.Now())
	if !changed {
		return nil
	}
	return l.commit(ctx, next, complete)
}
