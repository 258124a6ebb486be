package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"

	"github.com/foreshadow/foreshadow/libs/platform/agent"
	"github.com/foreshadow/foreshadow/libs/platform/local/internal/cgroup"
)

// Deps is what an agent needs from its process.
type Deps struct {
	// Groups the agent knows, by name; see Groups.
	Groups map[string]Group
	// Log may be nil.
	Log *slog.Logger
	// Registry may be nil.
	Registry prometheus.Registerer
}

// Agent owns the instances of this machine.
type Agent struct {
	cfg     AgentConfig
	log     *slog.Logger
	metrics *agent.Metrics
	groups  *agent.Groups[*group]
	ports   *ports
	probe   *http.Client
	// Set while it runs: where usage is read, and where control groups are made, or why they are not.
	proc   procfs.FS
	tree   *cgroup.Tree
	noTree error
	timing timing
}

// timing is how fast an agent works; tests make it faster.
type timing struct {
	// pollFirst and pollMax are the time between two readiness checks of a starting instance, which grows.
	pollFirst, pollMax time.Duration
	// checkEvery and checkTimeout are of the checks of a ready instance, patience when it fails of them.
	checkEvery, checkTimeout time.Duration
	patience                 agent.Patience
	// drainGrace is the time between the announcement that an instance drains and SIGTERM, for proxies to take notice.
	drainGrace time.Duration
	// retryFirst and retryMax are the delay before an instance that failed early is replaced, which doubles.
	retryFirst, retryMax time.Duration
	// goodLife is how long an instance must have been ready for its failure to count as the first.
	goodLife time.Duration
	// stopWithin bounds the stop of the whole agent.
	stopWithin time.Duration
}

func defaultTiming() timing {
	return timing{
		pollFirst: 50 * time.Millisecond, pollMax: 250 * time.Millisecond,
		checkEvery: time.Second, checkTimeout: 2 * time.Second, patience: agent.DefaultPatience(),
		drainGrace: 400 * time.Millisecond,
		retryFirst: 250 * time.Millisecond, retryMax: 30 * time.Second, goodLife: 10 * time.Second,
		stopWithin: 8 * time.Second,
	}
}

// New checks the configuration; it starts nothing.
func New(cfg AgentConfig, deps Deps) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(deps.Groups) == 0 {
		return nil, errors.New("local platform: no workload has a target on it")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{
		cfg: cfg, log: deps.Log, metrics: agent.NewMetrics(Platform), groups: agent.NewGroups(vary, MaxInstances, deps.Log), ports: newPorts(), timing: defaultTiming(),
		// A connection that is kept would hold up the drain of an instance.
		probe: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for name, g := range deps.Groups {
		if len(g.Process.Command) == 0 || g.Process.Initial < 0 || g.Process.Initial > MaxInstances {
			return nil, fmt.Errorf("local platform: group %q: want a command and 0 to %d initial instances", name, MaxInstances)
		}
		declared := newGroup(a, name, g)
		a.groups.Add(name, declared)
		a.metrics.Add(name, declared)
	}
	if deps.Registry != nil {
		if err := deps.Registry.Register(a.metrics); err != nil {
			return nil, fmt.Errorf("register metrics of the local platform: %w", err)
		}
	}
	return a, nil
}

// Run starts the initial instances and serves the API until ctx ends; it then stops all instances and returns nil.
func (a *Agent) Run(ctx context.Context) error {
	if a.cfg.LogDir != "" {
		if err := os.MkdirAll(a.cfg.LogDir, 0o700); err != nil {
			return fmt.Errorf("make log_dir: %w", err)
		}
	}
	var err error
	if a.proc, err = procfs.NewDefaultFS(); err != nil {
		return fmt.Errorf("open the process file system, which usage is read from: %w", err)
	}
	if a.tree, a.noTree = cgroup.Find(); a.noTree != nil {
		a.log.Info("cpu and memory of trials cannot be bounded", "reason", a.noTree.Error())
	}
	ln, release, err := agent.Listen(ctx, a.cfg.Socket)
	if err != nil {
		return err
	}
	defer release()
	// The API serves until the instances are gone, so that proxies see them drain.
	serveCtx, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	served := make(chan error, 1)
	go func() { served <- agent.Serve(serveCtx, ln, a.groups.API(serveCtx), a.log) }()
	groupsCtx, stopGroups := context.WithCancel(ctx)
	defer stopGroups()
	kept := make(chan error, 1)
	go func() { kept <- a.groups.Run(groupsCtx) }()
	a.log.Info("local platform serves", "address", a.cfg.Socket)
	select {
	case err = <-served: // the listener broke; nobody can steer the instances any more
	case <-ctx.Done():
	}
	stopGroups()
	err = errors.Join(err, <-kept)
	stopServing()
	if err == nil {
		err = <-served
	}
	a.probe.CloseIdleConnections()
	return err
}
