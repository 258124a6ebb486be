package model

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

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
	last      *foreshadowv1.UsageWindow // nil until one came
	lastTime  time.Time
	sizes     []scaling.InstanceSize // that the ready instances had last, each once; none when they are not known
	sized     time.Time              // since when they are these, as far as was seen
	fresh     int
	resources scaling.Resources
}

type row struct {
	rates    map[string]float64 // requests/s of the whole workload by route; nil until traffic came
	revision uint64             // of the use; 0 until it came
	use      map[string]float64 // mean of the ready instances; nil when none was ready
	cores    float64            // the mean of what they were given; 0 when that is not known of all
	ready    float64
}

func (r *row) joined() bool { return r.rates != nil && r.use != nil }

func newUsage() *usage { return &usage{rows: map[int64]*row{}} }

// at returns the row of a window; nil when the window is older than all that are kept, as imported ones are.
func (u *usage) at(start time.Time) *row {
	key := start.UnixNano()
	if r := u.rows[key]; r != nil {
		return r
	}
	r := &row{}
	if len(u.rows) >= keptRows {
		oldest := u.oldest()
		if key < oldest {
			return nil
		}
		delete(u.rows, oldest)
	}
	u.rows[key] = r
	return r
}

func (u *usage) oldest() int64 {
	oldest := int64(math.MaxInt64)
	for key := range u.rows {
		oldest = min(oldest, key)
	}
	return oldest
}

// traffic takes the requests of a window by route, nil when the routes are not known, and returns what they add to what it
// knew of the window.
func (u *usage) traffic(start time.Time, width time.Duration, requests map[string]float64) map[string]float64 {
	r := u.at(start)
	if r == nil {
		return nil
	}
	added := make(map[string]float64, len(requests))
	for route, rate := range r.rates {
		added[route] = -rate * width.Seconds()
	}
	r.rates = nil
	if requests != nil {
		r.rates = make(map[string]float64, len(requests))
	}
	for route, n := range requests {
		added[route] += n
		r.rates[route] = n / width.Seconds()
	}
	return added
}

// add takes a usage window and reports whether it was news.
func (u *usage) add(start time.Time, revision uint64, w *foreshadowv1.UsageWindow) bool {
	r := u.at(start)
	if r == nil || r.revision >= revision {
		return false
	}
	r.revision = revision
	if !start.Before(u.lastTime) {
		u.last, u.lastTime = w, start
		u.sizeUp(start, w)
	}
	r.use, r.cores, r.ready = nil, 0, 0
	use, unknown := map[string]float64{}, false
	for _, i := range w.GetInstances() {
		if !i.GetReady() {
			continue
		}
		r.ready++
		use[cpu] += i.GetCpuCores()
		use[memory] += float64(i.GetMemoryBytes())
		use[network] += i.GetReceiveBytesPerSecond() + i.GetTransmitBytesPerSecond()
		r.cores += i.GetGivenCpuCores()
		unknown = unknown || !(i.GetGivenCpuCores() > 0)
	}
	if r.ready == 0 {
		return true
	}
	if r.cores /= r.ready; unknown {
		r.cores = 0
	}
	for name := range use {
		use[name] /= r.ready
	}
	r.use = use
	u.fresh++
	return true
}

// sizeUp notes which sizes the ready instances have. A window in which none is ready says nothing of them.
func (u *usage) sizeUp(start time.Time, w *foreshadowv1.UsageWindow) {
	var sizes []scaling.InstanceSize
	ready := false
	for _, i := range w.GetInstances() {
		size := scaling.InstanceSize{CPUCores: i.GetGivenCpuCores(), MemoryBytes: float64(i.GetGivenMemoryBytes())}
		ready = ready || i.GetReady()
		if i.GetReady() && size != (scaling.InstanceSize{}) && !slices.Contains(sizes, size) {
			sizes = append(sizes, size)
		}
	}
	if !ready || slices.Equal(sizes, u.sizes) {
		return
	}
	if len(u.sizes) > 0 {
		u.sized = start
	}
	u.sizes = sizes
}

// size is the one that all ready instances have; zero when they differ, or it is not known.
func (u *usage) size() scaling.InstanceSize {
	if len(u.sizes) != 1 {
		return scaling.InstanceSize{}
	}
	return u.sizes[0]
}

// differs says whether any ready instance has another size than the given one, as far as both are known.
func (u *usage) differs(from scaling.InstanceSize) bool {
	return slices.ContainsFunc(u.sizes, func(s scaling.InstanceSize) bool {
		return s.CPUCores > 0 && !s.Is(scaling.InstanceSize{CPUCores: from.CPUCores}) || s.MemoryBytes > 0 && !s.Is(scaling.InstanceSize{MemoryBytes: from.MemoryBytes})
	})
}

// resized takes the size the provisioner asked for, where that is newer than what the platform reported.
func (u *usage) resized(at time.Time, instances int32) {
	if u.last == nil || !at.After(u.lastTime) {
		return
	}
	u.last = proto.CloneOf(u.last)
	u.last.DesiredInstances = instances
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
	busiest, rest := u.busiest()
	o := correlate.Observations{Strata: busiest}
	if rest {
		o.Strata = append(slices.Clone(busiest), "other")
	}
	values := map[string][]float64{}
	for _, key := range slices.Sorted(maps.Keys(u.rows)) {
		r := u.rows[key]
		if !r.joined() {
			continue
		}
		rates, other := make([]float64, len(busiest), len(busiest)+1), 0.0
		for route, rate := range r.rates {
			if i := slices.Index(busiest, route); i >= 0 {
				rates[i] = rate / r.ready
			} else {
				other += rate / r.ready
			}
		}
		if rest {
			rates = append(rates, other)
		}
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

// busiest are the routes with the most traffic, most first; rest says that there are others.
func (u *usage) busiest() (busiest []string, rest bool) {
	totals := map[string]float64{}
	for _, r := range u.rows {
		if !r.joined() {
			continue
		}
		for route, rate := range r.rates {
			totals[route] += rate
		}
	}
	routes := slices.SortedFunc(maps.Keys(totals), func(a, b string) int {
		return cmp.Or(cmp.Compare(totals[b], totals[a]), cmp.Compare(a, b))
	})
	return routes[:min(len(routes), maxRoutes)], len(routes) > maxRoutes
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
