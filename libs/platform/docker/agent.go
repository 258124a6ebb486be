package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform/agent"
)

// Deps is what an agent needs from its process.
type Deps struct {
	// Groups the agent knows, by name; see Groups.
	Groups map[string]Group
	// Log may be nil.
	Log *slog.Logger
	// Registry may be nil.
	Registry prometheus.Registerer
	// Health is told whether the engine answers; it may be nil.
	Health Health
}

// Health takes whether a part can do its work; telemetry.Admin is one.
type Health interface {
	Ready(part string)
	NotReady(part, reason string)
}

// nobody is the Health of those who gave none.
type nobody struct{}

func (nobody) Ready(string)            {}
func (nobody) NotReady(string, string) {}

// Agent keeps the groups of one engine.
type Agent struct {
	cfg     AgentConfig
	log     *slog.Logger
	engine  *engine
	metrics *agent.Metrics
	groups  *agent.Groups[*group]
	probe   *http.Client
	timing  timing
}

// timing is how fast an agent works; tests make it faster.
type timing struct {
	// poll is the time between two looks while something is under way, checkEvery when nothing is; awayMax bounds how it grows
	// while the engine cannot be asked.
	poll, checkEvery, awayMax time.Duration
	// checkTimeout bounds a check; patience is when a ready instance fails of them.
	checkTimeout time.Duration
	patience     agent.Patience
	// drainGrace is the time between the announcement that an instance drains and SIGTERM, for proxies to take notice.
	drainGrace time.Duration
	// retryFirst and retryMax are the delay before an instance that failed early is replaced, which doubles.
	retryFirst, retryMax time.Duration
	// goodLife is how long an instance must have been ready for its failure to count as the first.
	goodLife time.Duration
	// resizeRetry is the time until a size that could not be changed is tried again.
	resizeRetry time.Duration
	// stopped is closed when the agent has no more time.
	stopped chan struct{}
}

// stopWithin bounds how long the end of the agent waits for instances that end.
const stopWithin = 5 * time.Second

func defaultTiming() timing {
	return timing{
		poll: 200 * time.Millisecond, checkEvery: time.Second, awayMax: 2 * time.Second, checkTimeout: 2 * time.Second, patience: agent.DefaultPatience(),
		drainGrace: 400 * time.Millisecond, retryFirst: 250 * time.Millisecond, retryMax: 30 * time.Second, goodLife: 10 * time.Second,
		resizeRetry: 5 * time.Second,
	}
}

// New checks the configuration; it connects to nothing.
func New(cfg AgentConfig, deps Deps) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(deps.Groups) == 0 {
		return nil, errors.New("docker platform: no workload has a target on it")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Health == nil {
		deps.Health = nobody{}
	}
	e, err := newEngine(cfg)
	if err != nil {
		return nil, fmt.Errorf("docker platform: %w", err)
	}
	m := agent.NewMetrics(Platform)
	a := &Agent{
		cfg: cfg, log: deps.Log, engine: e, metrics: m, timing: defaultTiming(),
		// A connection that is kept would hold up the drain of an instance.
		probe: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	a.groups = agent.NewGroups(a.vary, MaxInstances, deps.Log)
	for name, spec := range deps.Groups {
		g := a.newGroup(name, spec.withDefaults())
		g.store, g.health, g.begin = store{filepath.Join(cfg.StateDir, name+".json")}, deps.Health, memory{Desired: -1} // as many as there are
		a.groups.Add(name, g)
		m.Add(name, g)
	}
	if deps.Registry != nil {
		if err := deps.Registry.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics of the docker platform: %w", err)
		}
	}
	return a, nil
}

// newGroup returns a group that remembers nothing.
func (a *Agent) newGroup(name string, spec Group) *group {
	return &group{
		name: name, spec: spec, engine: a.engine, log: a.log.With("group", name), health: nobody{}, probe: a.probe, timing: a.timing,
		wake: make(chan struct{}, 1), failed: func() { a.metrics.Failed(name) },
		// Revisions of an agent that is started later are higher. Microseconds stay exact in every JSON reader.
		revision: uint64(time.Now().UnixMicro()), changed: make(chan struct{}), // #nosec G115: after 1970
	}
}

// Run keeps the groups and serves the API until ctx ends. The instances live on.
func (a *Agent) Run(ctx context.Context) error {
	defer a.engine.close()
	defer a.probe.CloseIdleConnections()
	if err := os.MkdirAll(a.cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("make state_dir: %w", err)
	}
	ln, release, err := agent.Listen(ctx, a.cfg.Socket)
	if err != nil {
		return err
	}
	defer release()
	a.timing.stopped = make(chan struct{})
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(stopWithin, func() { close(a.timing.stopped) }) })
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	for _, group := range a.groups.List() {
		group.timing = a.timing
		g.Go(func() error { group.sweep(ctx); return nil })
	}
	g.Go(func() error { return a.groups.Run(ctx) })
	g.Go(func() error { return agent.Serve(ctx, ln, a.groups.API(ctx), a.log) })
	a.log.Info("docker platform serves", "address", a.cfg.Socket)
	return g.Wait()
}
