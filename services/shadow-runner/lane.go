package shadowrunner

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/compare"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/egress"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/emulate"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/fleet"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/observe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/replay"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/stub"
)

// lookEvery is how often a lane looks whether there is something to measure.
const lookEvery = 250 * time.Millisecond

// lane is all that belongs to one workload.
type lane struct {
	cfg         Config
	workload    workload.Workload
	fleet       *fleet.Fleet
	client      *client.Client
	reservoir   *reservoir.Reservoir
	replayer    *replay.Replayer
	allow       replay.Allow
	stubs       []*stub.Stub
	differ      *compare.Differ
	compared    *metric.Book
	comparisons atomic.Int64
	turns       *compare.Turns
	recorder    *observe.Recorder
	holder      *measure.Holder
	experiments *experiment.Store
	trials      Trials
	usage       func(ctx context.Context, group string) ([]platform.Usage, error)
	seat        *seat
	drives      bool // when it was last reported
	known       knowledge
	shares      []*foreshadowv1.StratumShare // of the mix at mixTime
	sharesOf    float64                      // requests that know them
	mixTime     time.Time
	waiting     time.Time // since when an experiment waits to be carried out
	publish     func(*foreshadowv1.CapacityMeasured)
	observe     func(*foreshadowv1.MetricsObserved)
	metrics     *metrics
	log         *slog.Logger
}

// books are the accounts that the lanes share.
type books struct{ captured, extra, probe, dependencies, compared *metric.Book }

// maxSessions bounds the sessions whose cookies, tokens and connections are kept.
const maxSessions = 20_000

func newLane(cfg Config, deps Deps, w workload.Workload, b books) (*lane, error) {
	var profiles *emulate.Profiles
	if w.Replay.Clients == workload.Emulated {
		p, err := emulate.Load(w.Replay.ClientProfiles)
		if err != nil {
			return nil, fmt.Errorf("workload %q: replay.client_profiles: %w", w.Name, err)
		}
		profiles = &p
	}
	security, err := security(w.Replay.TLS)
	if err != nil {
		return nil, fmt.Errorf("workload %q: replay.tls: %w", w.Name, err)
	}
	guard := &egress.Guard{}
	log := deps.Log.With("workload", w.Name)
	l := &lane{
		cfg: cfg, workload: w, log: log,
		fleet: fleet.New(w, deps.Instances, guard, deps.Admin, log, time.Now),
		client: client.New(client.Options{
			Control: guard.Control, Timeout: w.Replay.Timeout, MaxIdle: w.Replay.MaxInFlight, HTTP2: w.Replay.HTTP2, TLS: security, Profiles: profiles,
			Tokens: w.Replay.Tokens, MaxSessions: maxSessions, Now: time.Now,
		}),
		reservoir: reservoir.New(cfg.ReservoirRequests, cfg.ReservoirBytes),
		recorder:  observe.NewRecorder(w.Name, w.SLO.Latency, time.Now),
		trials:    deps.Trials, usage: deps.Instances.Usage, differ: compare.NewDiffer(), compared: b.compared,
		turns: compare.NewTurns(cfg.CompareRatio),
	}
	allow := replay.Allow{Methods: w.Tap.Methods, StateChanging: w.Replay.StateChanging}
	l.allow = allow
	for _, d := range w.Replay.Dependencies {
		st, err := stub.New(stub.Options{Dependency: d, Control: guard.Control, Book: b.dependencies, Log: log, Now: time.Now})
		if err != nil {
			return nil, fmt.Errorf("workload %q: dependency %s: %w", w.Name, d.Name, err)
		}
		l.stubs = append(l.stubs, st)
	}
	l.replayer = replay.New(replay.Options{
		Allow: allow, Amplification: w.Replay.Amplification, Weighted: w.Replay.Volume == workload.ProductionVolume, MaxInFlight: w.Replay.MaxInFlight, MaxQueued: cfg.MaxQueued, MaxQueuedBytes: cfg.MaxQueuedBytes,
		Lag: cfg.Lag, MaxLate: cfg.MaxLate, Instances: l.fleet, Sender: l.client, Observer: l.recorder, Compare: l.compare,
		Captured: b.captured, Extra: b.extra, Wait: pace.Precise, Now: time.Now,
	})
	l.holder = &measure.Holder{
		Sender: l.client, MaxInFlight: w.Replay.MaxInFlight, Book: b.probe, Wait: pace.Precise, Now: time.Now,
		Usage: func(ctx context.Context) ([]platform.Usage, error) { return deps.Instances.Usage(ctx, w.Shadow.Group) },
		Rand:  rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
	if len(l.stubs) > 0 {
		l.holder.Downstream = l.downstream
	}
	return l, nil
}

// security is nil for instances that speak without TLS.
func security(t workload.ReplayTLS) (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		data, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("ca_file: no certificate in %s", t.CAFile)
		}
	}
	return c, nil
}

// take gives the lane a captured request.
func (l *lane) take(r *captured.Request) {
	l.choose(r)
	if l.allow.Reason(r) == "" {
		l.reservoir.Add(r)
	}
	l.replayer.Offer(r)
}

// run works until ctx ends, measures only while this runner has the seat and once what was measured before is recalled, lets the
// requests in flight finish until abort ends, and reports the last second.
func (l *lane) run(ctx, abort context.Context, recalled <-chan struct{}) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.fleet.Run(gctx) })
	for _, s := range l.stubs {
		g.Go(func() error { return s.Run(gctx) })
	}
	g.Go(func() error { return l.replayer.Run(gctx, abort) })
	g.Go(func() error {
		select {
		case <-gctx.Done():
		case <-recalled:
			l.seat.during(gctx, l.measureLoop)
		}
		return nil
	})
	g.Go(func() error { l.observeLoop(gctx); return nil })
	err := g.Wait()
	l.report(true)
	l.client.Close()
	return err
}

// downstream is what the shadow called so far.
func (l *lane) downstream() measure.Calls {
	var sum measure.Calls
	for _, s := range l.stubs {
		c := s.Calls()
		sum.Count, sum.Failed, sum.Seconds = sum.Count+c.Count, sum.Failed+c.Failed, sum.Seconds+c.Seconds
	}
	return sum
}

// observeLoop reports each second right after it has ended.
func (l *lane) observeLoop(ctx context.Context) {
	for {
		next := metric.WindowStart(time.Now(), observe.Width).Add(observe.Width)
		if pace.Timer(ctx, next) != nil {
			return
		}
		l.report(false)
	}
}

// report publishes the seconds that are over, and with final the one that is not. A second without requests is published by who drives
// the shadow: from a runner in reserve it would pass for silence.
func (l *lane) report(final bool) {
	if !final {
		l.drives, _ = l.seat.look()
	}
	for _, o := range l.recorder.Take(final) {
		if !l.drives && len(o.GetTraffic()) == 0 {
			continue
		}
		l.observe(o)
		l.metrics.lag.WithLabelValues(l.workload.Name).Set(o.GetMaxLagSeconds())
	}
}

// mixEvery is how often it is looked whether the mix has moved; sorting thousands of requests is not free.
const mixEvery = 5 * time.Second

// measureLoop does one thing at a time: experiments first, for somebody waits for them. One that a runner left behind is waited for:
// a shadow of which all is known is put to sleep. Of what is under way when ctx ends nothing is published, and an experiment is
// another's to go on with.
func (l *lane) measureLoop(ctx context.Context) {
	l.waiting = time.Time{}
	for pace.Timer(ctx, time.Now().Add(lookEvery)) == nil {
		if !l.runExperiment(ctx) && !l.experiments.Elsewhere(l.workload.Name) && !l.warmUp(ctx) {
			l.measureWhenDue(ctx)
		}
	}
}

func (l *lane) measureWhenDue(ctx context.Context) {
	ready := l.fleet.Ready()
	if len(ready) == 0 || l.reservoir.Len() < l.workload.Replay.MinRequests {
		return
	}
	now := time.Now()
	if now.Sub(l.mixTime) > mixEvery {
		mix := l.reservoir.Mix()
		l.shares, l.sharesOf, l.mixTime = mix.Shares(), mix.Requests(), now
	}
	why, before := l.known.due(now, ready[0], l.shares, l.sharesOf)
	if why == "" {
		return
	}
	t, ok := l.newTenure(ctx)
	if !ok {
		return
	}
	defer func() { t.release() }()
	instance := t.instance
	l.log.Info("capacity measurement started", "instance", instance.ID, "reason", why)
	begin := time.Now()
	result, err := l.holder.Capacity(ctx, measure.Order{
		Workload: l.workload.Name, Instance: instance, Mix: l.reservoir.Mix(), Plan: l.plan(before),
		Left: t.left, Replace: t.replace,
		Limits: limits(l.workload.Shadow, instance.Size), TTL: l.workload.Replay.CapacityTTL,
	})
	if err != nil {
		return // the runner is stopping, or the seat is another's
	}
	l.known.add(result)
	l.publish(result)
	l.metrics.measured(result)
	l.log.Info("capacity measurement ended", "instance", instance.ID, "valid", result.GetValid(), "reason", result.GetInvalidReason(),
		"precise", result.GetPrecise(), "requests_per_second", result.GetRequestsPerSecond(), "lower", result.GetLowerRequestsPerSecond(),
		"upper", result.GetUpperRequestsPerSecond(), "steps", len(result.GetSteps()), "duration_ms", time.Since(begin).Milliseconds())
}

// plan begins near what is known: the last capacity, else the hint, else what an instance of production serves right now.
func (l *lane) plan(before []probe.Step) probe.Plan {
	r := l.workload.Replay
	const below = 0.8 // a first level that passes costs less than one that floods the instance
	start := below * l.known.rate()
	if start == 0 {
		start = below * l.workload.Policy.CapacityHint
	}
	if start == 0 {
		start, _ = l.productionRate()
	}
	return probe.Plan{
		SLO: l.slo(), Start: max(start, minStartRequests/r.StepDuration.Seconds()), MaxRate: r.MaxRate, Precision: r.Precision,
		MaxSteps: l.cfg.MaxSteps, Settle: r.SettleDuration, Hold: r.StepDuration, Before: before,
	}
}

// limits are what an instance of the target was given: what the platform says, else what was declared.
func limits(t workload.Target, s platform.Size) probe.Limits {
	t.CPUCores, t.MemoryBytes = cmp.Or(max(0, s.CPUCores), t.CPUCores), cmp.Or(max(0, s.MemoryBytes), t.MemoryBytes)
	t.NetworkBytesPerSecond = cmp.Or(max(0, s.NetworkBytesPerSecond), t.NetworkBytesPerSecond)
	return probe.Limits{CPUCores: t.CPUCores, MemoryBytes: uint64(max(0, t.MemoryBytes)), NetworkBytes: t.NetworkBytesPerSecond}
}

// minStartRequests in the first step: fewer say nothing of a tail.
const minStartRequests = 20

func (l *lane) slo() probe.SLO {
	return probe.SLO{Quantile: l.workload.SLO.Quantile, Latency: l.workload.SLO.Latency, ErrorRatio: l.workload.SLO.ErrorRatio}
}

// productionRate is what one instance of production serves right now, in requests per second; false when not known.
func (l *lane) productionRate() (float64, bool) {
	rate, known := l.reservoir.Rate(time.Now())
	instances := l.fleet.ProductionReady()
	if !known || instances == 0 || rate == 0 {
		return 0, false
	}
	return rate / float64(instances), true
}
