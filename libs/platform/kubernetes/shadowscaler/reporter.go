package shadowscaler

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	// reportEvery is the time between two looks, refreshEvery that between two writes that change nothing but the words of a
	// recommendation: it is made anew all the time.
	reportEvery  = 2 * time.Second
	refreshEvery = 30 * time.Second
)

// States reads what runs.
type States interface {
	State(ctx context.Context, group string) (platform.State, error)
}

// Reporter writes the status of all objects while it runs, and lets go of those that were deleted.
type Reporter struct {
	objects *Objects
	states  States
	loaded  map[string]workload.Workload
	log     *slog.Logger

	mu     sync.Mutex
	newest map[string]Recommendation
	said   map[string]said
}

// said is what was last reported of an object.
type said struct {
	at        time.Time
	version   string
	instances int
}

// NewReporter reports on objects; loaded is what the process works with.
func NewReporter(objects *Objects, states States, loaded []workload.Workload, log *slog.Logger) *Reporter {
	r := &Reporter{objects: objects, states: states, log: log, loaded: map[string]workload.Workload{}, newest: map[string]Recommendation{}, said: map[string]said{}}
	for _, w := range loaded {
		r.loaded[w.Name] = w
	}
	return r
}

// Offer takes the newest recommendation of a workload.
func (r *Reporter) Offer(name string, rec Recommendation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest[name] = rec
}

// Run reports until ctx ends. What cannot be written now is written at the next look.
func (r *Reporter) Run(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	failed := false
	for {
		err := r.report(ctx, time.Now())
		if (err != nil) != failed && ctx.Err() == nil {
			failed = err != nil
			r.log.Info("status of ShadowScalers", "written", !failed, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *Reporter) report(ctx context.Context, now time.Time) error {
	list, err := r.objects.List(ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Going {
			if err := r.objects.Release(ctx, s); err != nil {
				return err
			}
			continue
		}
		st := r.status(ctx, s)
		instances := -1
		if st.Recommendation != nil {
			instances = st.Recommendation.Instances
		}
		last := r.said[s.Name]
		if last.instances == instances && last.version == s.object.GetResourceVersion() && now.Sub(last.at) < refreshEvery {
			continue
		}
		if err := r.objects.Report(ctx, s, st, now); err != nil {
			return err
		}
		// The write gave it another version, or another has: either way the next look compares once more.
		r.said[s.Name] = said{at: now, version: s.object.GetResourceVersion(), instances: instances}
	}
	return nil
}

func (r *Reporter) status(ctx context.Context, s Scaler) Status {
	var st Status
	if s.Err != nil {
		return st
	}
	w, working := r.loaded[s.Name]
	st.Loaded = working && reflect.DeepEqual(w, s.Workload)
	r.mu.Lock()
	if rec, known := r.newest[s.Name]; known {
		st.Recommendation = &rec
	}
	r.mu.Unlock()
	if !working {
		return st
	}
	if state, err := r.states.State(ctx, w.Production.Group); err == nil {
		st.Desired, st.Ready, st.Known = state.Desired, state.Ready(), true
	}
	return st
}
