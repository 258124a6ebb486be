// Package model is all the predictor knows of one workload: its demand, its forecast, what one instance carries and uses,
// and how long one takes to start. Predict turns that into a recommendation: forecast -> correlate -> recommend.
//
// Everything it is told may come twice, late or out of order; what it keeps is bounded.
package model

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/demand"
)

const (
	// settle is how long after its end a window may still be revised by another replicator before it counts.
	settle       = 300 * time.Millisecond
	keptStartups = 20
	maxHistory   = 20000 // points; the engine's own bound
)

// Model is safe for concurrent use.
type Model struct {
	workload workload.Workload
	config   scaling.Config
	step     time.Duration

	mu         sync.Mutex
	engine     *forecast.Engine
	track      *demand.Track
	usage      *usage
	capacity   *foreshadowv1.CapacityMeasured
	startups   []time.Duration
	state      scaling.State
	generation uint64
	recent     mix
}

// New returns a model that knows nothing yet.
func New(w workload.Workload) (*Model, error) {
	config := scalingConfig(w)
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("workload %s: %w", w.Name, err)
	}
	step := Step(w.Policy)
	engine, err := forecast.New(forecast.Config{
		Step:    step,
		History: int(w.Policy.History / step),
		Horizon: int(scaling.Input{Config: config}.HoldTime()/step) + 2,
		Levels:  levels(w.Policy.Risk),
	})
	if err != nil {
		return nil, fmt.Errorf("workload %s: %w", w.Name, err)
	}
	return &Model{
		workload: w, config: config, step: step, engine: engine,
		track: demand.NewTrack(step, max(4*step, 2*config.DemandMaxAge), settle), usage: newUsage(),
	}, nil
}

// Step is the step of the forecast: the decision interval, or the smallest multiple of it at which the history is no
// longer than the engine can hold.
func Step(p workload.Policy) time.Duration {
	return p.Interval * time.Duration(math.Ceil(float64(p.History)/float64(p.Interval)/maxHistory))
}

// scalingConfig derives the decision's time scales from the workload's own: its interval and how long it holds.
func scalingConfig(w workload.Workload) scaling.Config {
	c := scaling.DefaultConfig()
	p := w.Policy
	c.MinInstances, c.MaxInstances = w.Instances.Min, w.Instances.Max
	c.Risk, c.Interval, c.StartupGuess = p.Risk, p.Interval, p.Startup
	c.Smoothing = max(p.Interval/3, 2*time.Second)
	c.DemandMaxAge, c.ForecastMaxAge = 6*p.Interval, 10*p.Interval
	c.DownHold, c.DownAhead = p.ScaleDownAfter, 2*p.ScaleDownAfter
	c.Lifetime = max(8*p.Interval, 10*time.Second)
	c.ShadowInstances = w.ShadowInstances.Max
	c.HPA.Sync, c.HPA.DownHold = p.Interval, p.ScaleDownAfter
	return c
}

func levels(risk float64) []float64 {
	out := []float64{0.05, 0.5, 0.8, 0.9, 0.95, 0.99, 1 - risk}
	slices.Sort(out)
	return slices.Compact(out)
}

// LoadHistory replaces the forecast's history by steps (oldest first, gaps left out) that end before now.
func (m *Model) LoadHistory(steps []demand.Step) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(steps) == 0 {
		return nil
	}
	step := m.step
	first, last := steps[0].Start, steps[len(steps)-1].Start
	n := int(last.Sub(first)/step) + 1
	if n > maxHistory {
		first = last.Add(-time.Duration(maxHistory-1) * step)
		n = maxHistory
	}
	values := slices.Repeat([]float64{math.NaN()}, n)
	for _, s := range steps {
		if i := int(s.Start.Sub(first) / step); !s.Start.Before(first) && i < n {
			values[i] = s.PerSecond
		}
	}
	if err := m.engine.Load(forecast.Series{Start: first, Step: step, Values: values}); err != nil {
		return fmt.Errorf("load %d steps of history: %w", n, err)
	}
	m.track.Skip(last.Add(step))
	m.track.Late()
	return nil
}

// ObserveWindow takes a window of production; it reports whether it was news.
func (m *Model) ObserveWindow(w *foreshadowv1.MetricsWindowed) (bool, error) {
	if w.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_PRODUCTION {
		return false, nil
	}
	width := time.Duration(w.GetDurationSeconds() * float64(time.Second))
	if width <= 0 || w.GetStartTime() == nil {
		return false, fmt.Errorf("window without start or length")
	}
	start := w.GetStartTime().AsTime()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch c := w.GetContent().(type) {
	case *foreshadowv1.MetricsWindowed_Traffic:
		strata, err := metric.StrataFromProto(c.Traffic.GetStrata())
		if err != nil {
			return false, fmt.Errorf("read window %s: %w", start, err)
		}
		news := m.track.Add(demand.Window{
			Start: start, Width: width, Revision: w.GetRevision(), Requests: float64(strata.Total().Requests),
		})
		if news {
			m.usage.traffic(start, width, strata)
			m.recent.add(start, strata)
		}
		return news, nil
	case *foreshadowv1.MetricsWindowed_Usage:
		return m.usage.add(start, w.GetRevision(), c.Usage), nil
	}
	return false, nil
}

// ObserveCapacity takes a measurement; an invalid or older one changes nothing.
func (m *Model) ObserveCapacity(c *foreshadowv1.CapacityMeasured) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	older := m.capacity != nil && !c.GetMeasureTime().AsTime().After(m.capacity.GetMeasureTime().AsTime())
	if !c.GetValid() || !(c.GetRequestsPerSecond() > 0) || older {
		return false
	}
	m.capacity = c
	if s := c.GetStartupSeconds(); s > 0 && len(m.startups) == 0 {
		m.addStartup(s)
	}
	return true
}

// ObserveAction learns from what the provisioner did: how long an instance of production takes to start.
func (m *Model) ObserveAction(a *foreshadowv1.ScalingApplied) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_PRODUCTION || !(a.GetStartupSeconds() > 0) {
		return false
	}
	m.addStartup(a.GetStartupSeconds())
	return true
}

func (m *Model) addStartup(seconds float64) {
	m.startups = append(m.startups, time.Duration(seconds*float64(time.Second)))
	if len(m.startups) > keptStartups {
		m.startups = slices.Clone(m.startups[1:])
	}
}

// startup is the 90th percentile of the measured start-up times; 0 when none was measured.
func (m *Model) startup() time.Duration {
	if len(m.startups) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(m.startups))
	return sorted[int(math.Ceil(0.9*float64(len(sorted))))-1]
}

// ObserveGeneration makes the next recommendation newer than one made before a restart.
func (m *Model) ObserveGeneration(generation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation = max(m.generation, generation)
}

// Advance hands the steps that have become complete to the forecast. It reports whether a window came so late that history
// should be read anew.
func (m *Model) Advance(now time.Time) (reload bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.track.Steps(now) {
		if err := m.engine.Observe(s.Start, s.PerSecond); err != nil {
			reload = true
		}
	}
	return m.track.Late() || reload
}

// NeedsRefit says whether Refit would learn something.
func (m *Model) NeedsRefit() bool { return m.engine.NeedsRefit() }

// Refit learns the forecast anew; it takes up to some hundred milliseconds and may run beside everything else. A forecast
// that abstains is not an error.
func (m *Model) Refit() { _ = m.engine.Refit() }
