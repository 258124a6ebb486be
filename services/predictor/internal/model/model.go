// Package model is all the predictor knows of one workload: its demand, its forecast, what one instance carries and uses,
// and how long one takes to start. Predict turns that into a recommendation: forecast -> correlate -> recommend.
//
// Everything it is told may come twice, late or out of order; what it keeps is bounded.
package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/foresight"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/demand"
)

const (
	// settle is how long after its end a window may still be revised by another replicator before it counts.
	settle = 300 * time.Millisecond
	// patience is how long a window may be on its way before its step goes on without it.
	patience = 3 * time.Second
	// keep outlasts the reading of history, so that nothing falls between history and the live windows.
	keep         = 2 * time.Minute
	keptStartups = 20
	maxStartup   = time.Hour // longer is a fault of the measurement
	maxHistory   = 20000     // points; the engine's own bound
)

// Model is safe for concurrent use.
type Model struct {
	workload workload.Workload
	config   scaling.Config
	forecast forecast.Config

	mu     sync.Mutex
	engine *forecast.Engine
	// seen is the newest forecast, former that of the step before it.
	seen, former forecast.Forecast
	track        *demand.Track
	usage        *usage
	capacity     *foreshadowv1.CapacityMeasured
	tried        map[string]*foreshadowv1.CapacityMeasured // by configuration: other sizes
	failed       []failure                                 // sizes that production was taken back from, oldest first
	startups     []startup                                 // oldest first
	state        scaling.State
	recalled     *scaling.State // to go on from at the next decision; nil when there is none
	generation   uint64
	recent       mix
}

// startup is a measured start-up time.
type startup struct {
	action string
	at     time.Time
	took   time.Duration
}

// New returns a model that knows nothing yet.
func New(w workload.Workload) (*Model, error) {
	config := scalingConfig(w)
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("workload %s: %w", w.Name, err)
	}
	step := Step(w.Policy)
	f := forecast.Config{
		Step:     step,
		History:  int(w.Policy.History / step),
		Horizon:  foresight.Horizon(scaling.Input{Config: config}.HoldTime(), step),
		Levels:   levels(w.Policy.Risk),
		Calendar: w.Calendar,
	}
	engine, err := forecast.New(f)
	if err != nil {
		return nil, fmt.Errorf("workload %s: %w", w.Name, err)
	}
	times := demand.Times{Step: step, Part: w.Policy.Interval, Keep: max(4*step, 2*config.DemandMaxAge, keep), Settle: settle, Patience: patience}
	return &Model{workload: w, config: config, forecast: f, engine: engine, track: demand.NewTrack(times), usage: newUsage()}, nil
}

// Step is the step of the forecast: the decision interval, or a multiple of it where the history is long.
func Step(p workload.Policy) time.Duration { return foresight.Step(p.Interval, p.History) }

// scalingConfig derives the decision's time scales from the workload's own: its interval and how long it holds.
func scalingConfig(w workload.Workload) scaling.Config {
	c := scaling.DefaultConfig()
	p := w.Policy
	c.MinInstances, c.MaxInstances = w.Instances.Min, w.Instances.Max
	c.Risk, c.Interval, c.StartupGuess = p.Risk, p.Interval, p.Startup
	c.Smoothing = max(p.Interval/3, 2*time.Second)
	c.DemandMaxAge, c.ForecastMaxAge = 6*p.Interval, 10*p.Interval
	c.DownHold, c.Outage = p.ScaleDownAfter, p.OutageHold
	c.Lifetime = max(8*p.Interval, 10*time.Second)
	c.ShadowInstances = w.ShadowInstances.Max
	c.HPA.Sync, c.HPA.DownHold = p.Interval, p.ScaleDownAfter
	// Kubernetes' own times, at an interval of 15 s.
	c.HPA.MetricWindow, c.HPA.ReadinessDelay, c.HPA.CPUInitialization = 4*p.Interval, 2*p.Interval, 20*p.Interval
	c.Budget, c.BudgetMemory = p.Budget, p.History/2
	c.FollowSize = p.Size == workload.Cheapest
	return c
}

func levels(risk float64) []float64 {
	out := []float64{0.05, 0.5, 0.8, 0.9, 0.95, 0.99, 1 - risk}
	slices.Sort(out)
	return slices.Compact(out)
}

// LoadHistory replaces what the forecast knows by steps that were read from history, oldest first, gaps left out, and learns
// it, which takes up to some hundred milliseconds; decisions go on with the former forecast meanwhile. Live windows newer
// than the last step are kept.
func (m *Model) LoadHistory(steps []demand.Step) error {
	if len(steps) == 0 {
		return nil
	}
	step := m.forecast.Step
	last := steps[len(steps)-1].Start
	n := min(int(last.Sub(steps[0].Start)/step)+1, maxHistory)
	first := last.Add(-time.Duration(n-1) * step)
	values := slices.Repeat([]float64{math.NaN()}, n)
	for _, s := range steps {
		if !s.Start.Before(first) && !s.Start.After(last) {
			values[s.Start.Sub(first)/step] = s.PerSecond
		}
	}
	engine, err := forecast.New(m.forecast)
	if err != nil {
		return err
	}
	if err := engine.Load(forecast.Series{Start: first, Step: step, Values: values}); err != nil {
		return fmt.Errorf("load %d steps of history: %w", n, err)
	}
	_ = engine.Refit() // an abstention is no error: the forecast says so when it is asked

	m.mu.Lock()
	defer m.mu.Unlock()
	m.engine = engine
	m.track.Resume(last.Add(step))
	return nil
}

// ObserveWindow takes a window of production and reports whether it was news.
func (m *Model) ObserveWindow(w *foreshadowv1.MetricsWindowed) (bool, error) {
	width := time.Duration(w.GetDurationSeconds() * float64(time.Second))
	if width <= 0 || w.GetStartTime() == nil {
		return false, errors.New("window without start or length")
	}
	start := w.GetStartTime().AsTime()
	switch c := w.GetContent().(type) {
	case *foreshadowv1.MetricsWindowed_Traffic:
		strata, err := metric.StrataFromProto(c.Traffic.GetStrata())
		if err != nil {
			return false, fmt.Errorf("read window %s: %w", start, err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.observeTraffic(demand.Window{Start: start, Width: width, Revision: w.GetRevision()}, strata), nil
	case *foreshadowv1.MetricsWindowed_Usage:
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.usage.add(start, w.GetRevision(), c.Usage), nil
	}
	return false, fmt.Errorf("window %s holds neither traffic nor usage", start)
}

func (m *Model) observeTraffic(w demand.Window, strata metric.Strata) bool {
	routes := make(map[string]float64, len(strata))
	for st, c := range strata {
		routes[st.Route] += float64(c.Requests)
		w.Requests += float64(c.Requests)
	}
	if !m.track.Add(w) {
		return false
	}
	if _, unknown := routes[""]; unknown {
		routes = nil // imported without routes: it says how much there was, not what of
	}
	m.recent.add(w.Start, m.usage.traffic(w.Start, w.Width, routes))
	return true
}

// AsOf is a measurement as of its arrival where it says a later time: until then it would pass for newer than all that come.
func AsOf(arrival time.Time, c *foreshadowv1.CapacityMeasured) *foreshadowv1.CapacityMeasured {
	made := c.GetMeasureTime().AsTime()
	if !made.After(arrival) {
		return c
	}
	c = proto.CloneOf(c)
	c.MeasureTime = timestamppb.New(arrival)
	if c.ExpireTime != nil { // it holds as long as it was meant to
		c.ExpireTime = timestamppb.New(arrival.Add(expires(c).Sub(made)))
	}
	return c
}

// ObserveCapacity takes a measurement and reports whether it counts as production's: one that is invalid, older than the
// newest, or made for another SLO changes nothing, and one of a size that was tried is kept beside it.
func (m *Model) ObserveCapacity(c *foreshadowv1.CapacityMeasured) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	rate, slo := c.GetRequestsPerSecond(), m.workload.SLO
	switch {
	case c.GetMeasureTime() == nil, c.GetSloLatencySeconds() != slo.Latency.Seconds(), c.GetSloQuantile() != slo.Quantile:
		return false
	case c.GetSimulation() != nil:
		m.try(c)
		return false
	case !c.GetValid(), !(rate > 0), math.IsInf(rate, 1):
		return false
	case m.capacity != nil && !c.GetMeasureTime().AsTime().After(m.capacity.GetMeasureTime().AsTime()):
		return false
	}
	m.capacity = c
	return true
}

// Measured says whether a measurement of production's capacity is known.
func (m *Model) Measured() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.capacity != nil
}

// ObserveAction learns from what the provisioner did to production: how long an instance takes to start, and what the
// platform was asked for. It reports whether the action was news. Whoever recommended it, the next recommendation is newer: another
// predictor's clock may be ahead, and what is older than what was acted upon is refused.
func (m *Model) ObserveAction(a *foreshadowv1.ScalingApplied) bool {
	if a.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_PRODUCTION {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation = max(m.generation, a.GetGeneration())
	if o := a.GetOutcome(); o == foreshadowv1.Outcome_OUTCOME_APPLIED || o == foreshadowv1.Outcome_OUTCOME_FAILED {
		m.usage.resized(a.GetCreateTime().AsTime(), a.GetTo().GetInstances())
	}
	if a.GetOutcome() == foreshadowv1.Outcome_OUTCOME_ROLLED_BACK {
		from := a.GetFrom()
		m.fail(failure{scaling.InstanceSize{CPUCores: from.GetCpuCores(), MemoryBytes: float64(from.GetMemoryBytes())}, a.GetCreateTime().AsTime()})
	}
	took, known := startupTime(a.GetStartupSeconds())
	repeated := slices.ContainsFunc(m.startups, func(s startup) bool { return s.action == a.GetActionId() })
	if !known || repeated {
		return false
	}
	m.startups = append(m.startups, startup{action: a.GetActionId(), at: a.GetCreateTime().AsTime(), took: took})
	slices.SortStableFunc(m.startups, func(x, y startup) int { return x.at.Compare(y.at) })
	m.startups = m.startups[max(0, len(m.startups)-keptStartups):]
	return true
}

func startupTime(seconds float64) (time.Duration, bool) {
	if !(seconds > 0 && seconds <= maxStartup.Seconds()) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// startup is the 90th percentile of the measured start-up times of production, else that of the shadow; 0 when none was
// measured.
func (m *Model) startup() time.Duration {
	if len(m.startups) == 0 {
		took, _ := startupTime(m.capacity.GetStartupSeconds())
		return took
	}
	took := make([]time.Duration, len(m.startups))
	for i, s := range m.startups {
		took[i] = s.took
	}
	slices.Sort(took)
	return took[int(math.Ceil(0.9*float64(len(took))))-1]
}

// KnowsStartup says whether any start-up time of production is known.
func (m *Model) KnowsStartup() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.startups) > 0
}

// ObserveGeneration makes the next recommendation newer than one made before a restart.
func (m *Model) ObserveGeneration(generation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation = max(m.generation, generation)
}

// Advance hands the steps that have become complete to the forecast. It reports whether windows of the past came that
// history must be read for.
func (m *Model) Advance(now time.Time) (reload bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.track.Steps(now) {
		if err := m.engine.Observe(s.Start, s.PerSecond); err != nil {
			reload = true
		}
	}
	return m.track.Missed() || reload
}

// NeedsRefit says whether Refit would learn something.
func (m *Model) NeedsRefit() bool { return m.current().NeedsRefit() }

// Refit learns the forecast anew; it takes up to some hundred milliseconds and may run beside everything else. A forecast
// that abstains is not an error.
func (m *Model) Refit() { _ = m.current().Refit() }

// Trust says how the forecasts made so far have fared.
func (m *Model) Trust() forecast.Trust { return m.current().Trust() }

func (m *Model) current() *forecast.Engine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.engine
}
