package forecast

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"math"
	"time"
)

// stateVersion changes when an older state can no longer be read.
const stateVersion = 1

type state struct {
	Version            int
	Start              time.Time
	Step               time.Duration
	Values             []float64
	FitFrom, FitLength int
	Board              scoreboard
	Stretch            []float64
	Pending            []issued
}

// Save returns the state of the engine: history, calibration, trust. It is opaque and only for Restore.
func (e *Engine) Save() ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := state{
		Version: stateVersion, Start: e.hist.start, Step: e.cfg.Step, Values: e.hist.values,
		Board: e.board, Stretch: e.stretch, Pending: e.pending,
	}
	if e.fit.pool != nil && e.fit.from >= 0 {
		s.FitFrom, s.FitLength = e.fit.from, e.fit.length
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(s); err != nil {
		return nil, fmt.Errorf("encode forecast state: %w", err)
	}
	return buf.Bytes(), nil
}

// Restore returns an engine that continues where Save was called: with equal configuration its forecasts are the same.
// Models are fitted anew, on the points they had been fitted on, which costs as much as a Refit.
func Restore(cfg Config, saved []byte) (*Engine, error) {
	e, err := New(cfg)
	if err != nil {
		return nil, err
	}
	var s state
	if err := gob.NewDecoder(bytes.NewReader(saved)).Decode(&s); err != nil {
		return nil, fmt.Errorf("decode forecast state: %w", err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("restore forecast state: version %d, want %d", s.Version, stateVersion)
	}
	if s.Step != e.cfg.Step || s.FitFrom < 0 || s.FitLength < 0 || s.FitFrom+s.FitLength > len(s.Values) {
		return nil, fmt.Errorf("restore forecast state: it belongs to another configuration")
	}
	e.hist.start = s.Start
	e.hist.values = s.Values
	for i, v := range s.Values {
		if !math.IsNaN(v) {
			e.measured = i
		}
	}
	if s.FitLength > 0 {
		f := e.learn(e.hist.time(s.FitFrom), s.Values[s.FitFrom:s.FitFrom+s.FitLength])
		f.from = s.FitFrom
		e.adopt(f)
		if len(s.Stretch) == len(e.stretch) {
			e.stretch = s.Stretch
		}
	}
	e.board, e.pending = s.Board, s.Pending
	return e, nil
}
