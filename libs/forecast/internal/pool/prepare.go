package pool

import (
	"math"
	"slices"

	"github.com/foreshadow/foreshadow/libs/forecast/internal/model"
)

// prepare fills gaps linearly and refuses what cannot be learnt from.
func prepare(values []float64) (*model.Data, error) {
	d := &model.Data{Y: slices.Clone(values), Missing: make([]bool, len(values)), Positive: true}
	seen, last := 0, -1
	for i, v := range values {
		if d.Missing[i] = math.IsNaN(v); d.Missing[i] {
			continue
		}
		d.Positive = d.Positive && v >= 0
		for j := last + 1; j < i; j++ {
			d.Y[j] = v
			if last >= 0 {
				d.Y[j] = values[last] + (v-values[last])*float64(j-last)/float64(i-last)
			}
		}
		seen, last = seen+1, i
	}
	switch {
	case seen == 0 && len(values) >= MinPoints:
		return nil, ErrAllGaps
	case seen < MinPoints:
		return nil, ErrTooShort
	case 2*seen < len(values):
		return nil, ErrMostlyGap
	}
	for j := last + 1; j < len(values); j++ {
		d.Y[j] = values[last]
	}
	return d, nil
}

// bridge fills long gaps with the cycle before them instead of a straight line, led from the level at one end to that at the
// other: a day that is missing must not look like a flat day to everything that looks back at it.
func bridge(d *model.Data, period int) {
	for from := 0; from < len(d.Y); from++ {
		if !d.Missing[from] {
			continue
		}
		to := from
		for to < len(d.Y) && d.Missing[to] {
			to++
		}
		if to-from > period/8 && from > period {
			bridgeGap(d, from, to, period)
		}
		from = to
	}
}

func bridgeGap(d *model.Data, from, to, period int) {
	left := d.Y[from-1] - d.Y[from-1-period]
	copies := make([]float64, to-from)
	for i := range copies {
		copies[i] = d.Y[from+i-period] // of a gap longer than the cycle, of what was just filled
		if i >= period {
			copies[i] = copies[i-period]
		}
	}
	right := left
	if to < len(d.Y) {
		at := to - period
		right = d.Y[to] - d.Y[at]
		if at >= from {
			right = d.Y[to] - copies[at-from]
		}
	}
	for i, v := range copies {
		share := float64(i+1) / float64(len(copies)+1)
		v += left + (right-left)*share
		if d.Positive {
			v = math.Max(v, 0)
		}
		d.Y[from+i] = v
	}
}
