package model

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/correlate"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	keptRows  = 900
	minRows   = 30
	fitEvery  = 30 // new rows
	maxRoutes = 4  // told apart in the regression; the rest is one column
)

// Names of the regressed resources.
const (
	cpu     = "cpu"
	memory  = "memory"
	network = "network"
)

// usage joins what instances used with what they served, window by window, and learns what a request costs.
type usage struct {
	rows      map[int64]*row
	revisions map[int64]uint64
	newest    time.Time
	last      *foreshadowv1.UsageWindow
	lastTime  time.Time
	fresh     int
	resources scaling.Resources
}

type row struct {
	rates map[string]float64 // requests/s of the whole workload by route; nil until traffic came
	use   map[string]float64 // mean of the ready instances; nil until usage came
	ready float64
}

func newUsage() *usage { return &usage{rows: map[int64]*row{}, revisions: map[int64]uint64{}} }

func (u *usage) at(start time.Time) *row {
	key := start.UnixNano()
	r := u.rows[key]
	if r == nil {
		r = &row{}
		u.rows[key] = r
		if len(u.rows) > keptRows {
			oldest := slices.Min(slices.Collect(maps.Keys(u.rows)))
			delete(u.rows, oldest)
			delete(u.revisions, oldest)
		}
	}
	return r
}

func (u *usage) traffic(start time.Time, width time.Duration, strata metric.Strata) {
	rates := map[string]float64{}
	for st, c := range strata {
		rates[st.Route] += float64(c.Requests) / width.Seconds()
	}
	u.at(start).rates = rates
}

// add takes a usage window and reports whether it was news.
func (u *usage) add(start time.Time, revision uint64, w *foreshadowv1.UsageWindow) bool {
	key := start.UnixNano()
	if u.revisions[key] >= revision {
		return false
	}
	if !start.Before(u.lastTime) {
		u.last, u.lastTime = w, start
	}
	use := map[string]float64{}
	var ready float64
	for _, i := range w.GetInstances() {
		if !i.GetReady() {
			continue
		}
		ready++
		use[cpu] += i.GetCpuCores()
		use[memory] += float64(i.GetMemoryBytes())
		use[network] += i.GetReceiveBytesPerSecond() + i.GetTransmitBytesPerSecond()
	}
	r := u.at(start)
	u.revisions[key] = revision
	if ready == 0 {
		return true
	}
	for name := range use {
		use[name] /= ready
	}
	r.use, r.ready = use, ready
	u.fresh++
	return true
}

// learn fits the regression when enough has come since the last time.
func (u *usage) learn() {
	if u.fresh < fitEvery {
		return
	}
	u.fresh = 0
	o := u.observations()
	if len(o.Rates) < minRows {
		return
	}
	fitted, err := correlate.Fit(o, correlate.Options{})
	if errors.Is(err, correlate.ErrCollinear) || errors.Is(err, correlate.ErrTooFew) {
		// The routes rise and fall together: what a request costs on average can still be told.
		o = o.Total()
		fitted, err = correlate.Fit(o, correlate.Options{})
	}
	if err != nil {
		return
	}
	shares := meanShares(o.Rates)
	for _, c := range fitted.Resources {
		line := scaling.Line{Base: c.Base}
		for i, cost := range c.PerRequest {
			line.PerRequest += cost * shares[i]
		}
		switch c.Resource {
		case cpu:
			u.resources.CPU = line
		case memory:
			u.resources.Memory = line
		case network:
			u.resources.Network = line
		}
	}
}

// observations are the joined rows, oldest first: what one mean instance was asked and used.
func (u *usage) observations() correlate.Observations {
	busiest := u.busiest()
	o := correlate.Observations{Strata: append(slices.Clone(busiest), "other")}
	values := map[string][]float64{}
	for _, key := range slices.Sorted(maps.Keys(u.rows)) {
		r := u.rows[key]
		if r.rates == nil || r.use == nil {
			continue
		}
		rates, other := make([]float64, len(busiest)+1), 0.0
		for route, rate := range r.rates {
			if i := slices.Index(busiest, route); i >= 0 {
				rates[i] = rate / r.ready
			} else {
				other += rate / r.ready
			}
		}
		rates[len(busiest)] = other
		o.Rates = append(o.Rates, rates)
		for name, v := range r.use {
			values[name] = append(values[name], v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		o.Resources = append(o.Resources, correlate.Resource{Name: name, Usage: values[name]})
	}
	return o
}

// busiest are the routes with the most traffic, most first.
func (u *usage) busiest() []string {
	totals := map[string]float64{}
	for _, r := range u.rows {
		for route, rate := range r.rates {
			totals[route] += rate
		}
	}
	routes := slices.SortedFunc(maps.Keys(totals), func(a, b string) int {
		return cmp.Or(cmp.Compare(totals[b], totals[a]), cmp.Compare(a, b))
	})
	return routes[:min(len(routes), maxRoutes)]
}

func meanShares(rates [][]float64) []float64 {
	if len(rates) == 0 {
		return nil
	}
	shares, total := make([]float64, len(rates[0])), 0.0
	for _, row := range rates {
		for i, v := range row {
			shares[i] += v
			total += v
		}
	}
	for i := range shares {
		if total > 0 {
			shares[i] /= total
		}
	}
	return shares
}
