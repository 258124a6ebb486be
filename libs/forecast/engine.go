package forecast

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
	"github.com/foreshadow/foreshadow/libs/forecast/internal/pool"
)

// minHistory is the least number of points an engine can be configured to keep.
const minHistory = 2 * pool.MinPoints

// Engine forecasts one workload. Use New or Restore; it is safe for concurrent use.
type Engine struct {
	cfg      Config
	schedule *calendar.Schedule // nil without a calendar

	refitting sync.Mutex // held for a whole Refit, never together with waiting for mu inside the fit
	mu        sync.Mutex
	hist      history
	fit       fitted
	board     scoreboard
	stretch   []float64 // per step: what the spread of errors is multiplied by to cover as promised
	pending   []issued
	measured  int // index of the last point that is not missing, -1 for none
}

// fitted is the result of one Refit and the window of the history it saw.
type fitted struct {
	pool     *pool.Pool
	known    *known
	from     int // index in the history of the pool's first point; negative once trimmed past it
	length   int // points fitted on
	reactive [][]float64
	err      error
}

// New returns an engine without history.
func New(cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure forecast: %w", err)
	}
	cfg = cfg.withDefaults()
	schedule, err := cfg.schedule()
	if err != nil {
		return nil, fmt.Errorf("configure forecast: %w", err)
	}
	return &Engine{cfg: cfg, schedule: schedule, hist: history{step: cfg.Step, limit: cfg.History}, measured: -1}, nil
}

// Load replaces the history by s, of which the newest Config.History points are kept.
func (e *Engine) Load(s Series) error {
	if s.Step != e.cfg.Step {
		return fmt.Errorf("load history: step %s, want %s", s.Step, e.cfg.Step)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	skip := max(0, len(s.Values)-e.cfg.History)
	e.hist = history{step: e.cfg.Step, limit: e.cfg.History, start: s.Time(skip)}
	e.measured = -1
	for i, v := range s.Values[skip:] {
		e.hist.values = append(e.hist.values, sanitize(v))
		if !math.IsNaN(e.hist.values[i]) {
			e.measured = i
		}
	}
	e.fit, e.pending = fitted{}, nil
	return nil
}

// Observe adds the value measured over the step that starts at t, rounded to the grid of the first point. Points between
// the last one and t become missing; a point for a past step replaces it and is learnt from at the next Refit. A value that
// is not a measurement (NaN, infinite) is missing. An error means that t lies before the kept history.
func (e *Engine) Observe(t time.Time, v float64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := len(e.hist.values)
	grown, err := e.hist.set(t, v)
	if err != nil {
		return err
	}
	last := len(e.hist.values) - 1
	if last+1 != before+grown { // the grid began anew after a gap longer than the whole history
		e.fit, e.pending, e.measured = fitted{}, nil, -1
	}
	if at := e.hist.index(t); !math.IsNaN(sanitize(v)) {
		e.measured = max(e.measured, at)
	}
	if grown > 0 {
		e.score(last)
		e.catchUp()
	}
	if len(e.hist.values) > e.hist.limit+e.hist.limit/4 {
		e.trim()
	}
	return nil
}

// catchUp hands the points the pool has not seen to it.
func (e *Engine) catchUp() {
	if e.fit.pool == nil {
		return
	}
	for i := e.fit.from + e.fit.pool.Len(); i < len(e.hist.values); i++ {
		e.fit.pool.Append(e.fit.known.point(e.hist.time(i), e.hist.values[i]))
	}
}

func (e *Engine) trim() {
	drop := e.hist.trim()
	e.fit.from -= drop
	e.measured = max(-1, e.measured-drop)
	for i := range e.pending {
		e.pending[i].Start -= drop
	}
}

// NeedsRefit says that there is something to learn: nothing was fitted yet, or RefitEvery points arrived since.
func (e *Engine) NeedsRefit() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fit.pool == nil {
		return len(e.hist.values) > 0
	}
	if e.fit.known.outgrown(e.hist.time(len(e.hist.values))) {
		return true
	}
	every := e.cfg.RefitEvery
	if every == 0 {
		every = max(30, e.fit.length/20)
	}
	return e.fit.pool.Len()-e.fit.length >= every
}

// Refit learns everything anew from the present history. It takes up to some hundred milliseconds and is meant for a
// background goroutine: Observe and Forecast go on with the previous fit meanwhile. An *Abstention says that the history
// does not allow a forecast yet.
func (e *Engine) Refit() error {
	e.refitting.Lock()
	defer e.refitting.Unlock()
	e.mu.Lock()
	from := max(0, len(e.hist.values)-e.hist.limit)
	snapshot := append([]float64(nil), e.hist.values[from:]...)
	start := e.hist.time(from)
	e.mu.Unlock()

	f := e.learn(start, snapshot)

	e.mu.Lock()
	defer e.mu.Unlock()
	f.from = e.hist.index(start) // Observe may have trimmed meanwhile
	if f.from+len(snapshot) > len(e.hist.values) {
		return nil // Load or a very long gap replaced the history: what was learnt is of no use
	}
	e.adopt(f)
	e.trim()
	return f.err
}

// learn fits the pool to a snapshot that starts at start.
func (e *Engine) learn(start time.Time, values []float64) fitted {
	c := learnCalendar(e.schedule, start, e.cfg.Step, values)
	p, err := pool.Fit(c.ordinary(start, values), pool.Options{Horizon: e.cfg.Horizon, Hints: e.hints(), Method: e.cfg.Method})
	if err != nil {
		return fitted{known: c, length: len(values), err: &Abstention{Reason: e.reason(err, len(values))}}
	}
	return fitted{pool: p, known: c, length: len(values), reactive: reactiveSpread(p.Errors())}
}

// reason says why nothing can be learnt from n points, and how long that lasts.
func (e *Engine) reason(err error, n int) string {
	if errors.Is(err, pool.ErrTooShort) {
		return fmt.Sprintf("%s: %s, at least %s of measurements are needed", err, time.Duration(n)*e.cfg.Step, pool.MinPoints*e.cfg.Step)
	}
	return err.Error()
}

// hints are the cycles people live by; the data decide whether this workload follows them.
func (e *Engine) hints() []int {
	var out []int
	for _, d := range []time.Duration{24 * time.Hour, 7 * 24 * time.Hour} {
		if d%e.cfg.Step == 0 {
			out = append(out, int(d/e.cfg.Step))
		}
	}
	return out
}

// adopt makes f the fit in force. The caller holds mu.
func (e *Engine) adopt(f fitted) {
	if f.err != nil && e.fit.pool != nil {
		return // an older fit still serves better than none
	}
	e.fit = f
	if f.pool == nil {
		return
	}
	e.catchUp()
	e.recalibrate()
}

// Forecast predicts the horizon steps that start at the first grid point not before now, and after the last observation.
// When nothing was fitted yet, or the last fit has been outgrown, it fits first. It returns an *Abstention when there is
// nothing to stand on.
func (e *Engine) Forecast(now time.Time, horizon int) (Forecast, error) {
	if horizon < 1 {
		return Forecast{}, fmt.Errorf("forecast %d steps: must be positive", horizon)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.hist.values) == 0 {
		return Forecast{}, &Abstention{Reason: e.reason(pool.ErrTooShort, 0)}
	}
	if e.fit.pool == nil || e.fit.pool.Len() > 3*e.fit.length || e.fit.known.outgrown(e.hist.time(len(e.hist.values))) {
		from := max(0, len(e.hist.values)-e.hist.limit)
		f := e.learn(e.hist.time(from), e.hist.values[from:])
		f.from = from
		e.adopt(f)
	}
	if e.fit.pool == nil {
		return Forecast{}, e.fit.err
	}
	next := len(e.hist.values)
	start := max(next, e.hist.index(now.Add(e.cfg.Step/2-1)))
	if stale := start - e.measured - 1; stale > e.cfg.MaxStale {
		return Forecast{}, &Abstention{Reason: fmt.Sprintf("nothing was measured for %d steps of %s, %d are allowed",
			stale, e.cfg.Step, e.cfg.MaxStale)}
	}
	return e.issue(start, start-next, horizon)
}

// Away is the share of the usual demand that known events keep away at a time, from 0 to 1; 0 where they bring more, and where
// nothing is known of what they do.
func (e *Engine) Away(t time.Time) float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fit.known == nil || len(e.hist.values) == 0 {
		return 0
	}
	start := e.hist.time(e.hist.index(t))
	factor, _ := e.fit.known.at(start, e.schedule.Occurrences(start, start.Add(e.cfg.Step)))
	return 1 - min(factor, 1)
}

// issue builds the forecast for horizon steps after lead skipped ones.
func (e *Engine) issue(start, lead, horizon int) (Forecast, error) {
	p := e.fit.pool
	factors, at, events := e.fit.known.horizon(e.hist.time(start), lead, horizon)
	mean, scale := p.Forecast(slices.Max(at) + 1)
	f := Forecast{
		Start: e.hist.time(start), Step: e.cfg.Step, Origin: e.hist.time(e.measured), Last: e.hist.at(e.measured), Levels: e.cfg.Levels,
		Mean: make([]float64, horizon), Method: describe(p), Events: events, spread: e.spread(scale, at),
	}
	for k, factor := range factors {
		f.Mean[k] = factor * mean[at[k]]
		f.spread.scale[k] *= factor
	}
	for _, m := range p.Periods() {
		f.Periods = append(f.Periods, time.Duration(m)*e.cfg.Step)
	}
	for _, level := range f.Levels {
		q := make([]float64, horizon)
		for k := range q {
			q[k] = f.Quantile(k, level)
		}
		f.Quantiles = append(f.Quantiles, q)
	}
	for k, m := range f.Mean {
		if math.IsNaN(m) || math.IsInf(m, 0) || math.IsInf(f.spread.scale[k], 0) {
			return Forecast{}, &Abstention{Reason: "the history leads to no finite forecast"}
		}
	}
	if lead == 0 {
		e.remember(start, f)
	}
	return f, nil
}

// describe names the heaviest models.
func describe(p *pool.Pool) string {
	names, weights := p.Weights()
	var parts []string
	for i := range names {
		if i < 3 && weights[i] > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f%%", names[i], 100*weights[i]))
		}
	}
	return strings.Join(parts, ", ")
}
