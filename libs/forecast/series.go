package forecast

import (
	"fmt"
	"math"
	"time"
)

// maxMagnitude bounds what counts as a measurement: beyond it squares overflow and no real service lives there.
const maxMagnitude = 1e100

// Series is a regularly sampled history: Values[i] was measured over [Start+i*Step, Start+(i+1)*Step).
// NaN marks a missing point. The unit of the values is the caller's.
type Series struct {
	Start  time.Time
	Step   time.Duration
	Values []float64
}

// Time returns the start of the interval that Values[i] covers.
func (s Series) Time(i int) time.Time { return s.Start.Add(time.Duration(i) * s.Step) }

// Peaks returns the highest of each n successive points, what scaling has to carry; a group without any measured point is
// missing, and an incomplete last one is what was measured of it. n must be positive.
func (s Series) Peaks(n int) Series {
	out := Series{Start: s.Start, Step: s.Step * time.Duration(n), Values: make([]float64, 0, (len(s.Values)+n-1)/n)}
	for i := 0; i < len(s.Values); i += n {
		peak := math.NaN()
		for _, v := range s.Values[i:min(i+n, len(s.Values))] {
			if v = sanitize(v); math.IsNaN(peak) || v > peak {
				peak = v
			}
		}
		out.Values = append(out.Values, peak)
	}
	return out
}

// sanitize maps everything that is not a measurement to NaN, the one mark of a missing point.
func sanitize(v float64) float64 {
	if math.IsInf(v, 0) || math.Abs(v) > maxMagnitude {
		return math.NaN()
	}
	return v
}

// history is a bounded regular grid that grows to the right.
type history struct {
	start  time.Time
	step   time.Duration
	limit  int
	values []float64
}

// index rounds to the nearest grid point, so that scrape jitter below half a step does not open gaps.
func (h *history) index(t time.Time) int {
	d := t.Sub(h.start)
	if d < 0 {
		return -int((-d + h.step/2) / h.step)
	}
	return int((d + h.step/2) / h.step)
}

func (h *history) time(i int) time.Time { return h.start.Add(time.Duration(i) * h.step) }

// at is the value of a grid point, NaN where there is none.
func (h *history) at(i int) float64 {
	if i < 0 || i >= len(h.values) {
		return math.NaN()
	}
	return h.values[i]
}

// set stores one point and returns how many points the grid grew by.
func (h *history) set(t time.Time, v float64) (grown int, err error) {
	if len(h.values) == 0 {
		h.start = t
	}
	i := h.index(t)
	switch {
	case i < 0:
		return 0, fmt.Errorf("observe %s: before the kept history, which starts at %s", t.Format(time.RFC3339), h.start.Format(time.RFC3339))
	case i < len(h.values):
		h.values[i] = sanitize(v)
		return 0, nil
	case i-len(h.values) >= h.limit:
		// Nothing that was kept would survive the gap: begin anew instead of storing a grid of gaps.
		h.start, h.values = t, append(h.values[:0], sanitize(v))
		return 1, nil
	}
	for len(h.values) < i {
		h.values = append(h.values, math.NaN())
		grown++
	}
	h.values = append(h.values, sanitize(v))
	return grown + 1, nil
}

// trim forgets the oldest points beyond the limit and returns how many.
func (h *history) trim() int {
	drop := len(h.values) - h.limit
	if drop <= 0 {
		return 0
	}
	h.values = append(make([]float64, 0, h.limit+h.limit/8), h.values[drop:]...)
	h.start = h.time(drop)
	return drop
}
