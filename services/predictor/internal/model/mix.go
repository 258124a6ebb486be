package model

import (
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	mixHalfLife    = 60 * time.Second
	mixMinRequests = 200 // below it the shares are noise
	// mixMinShare: routes rarer than this on both sides count as one. The shares of many rare routes are mostly noise of the
	// sample, which adds up to a drift that is none.
	mixMinShare = 0.03
)

// mix is the share of each route in the traffic of the last minutes, with exponential forgetting. What a window adds is
// weighted by its own time, so the order in which windows come does not matter.
type mix struct {
	at     time.Time
	routes map[string]float64
}

// add adds the requests per route of a window; a revision adds the difference.
func (m *mix) add(start time.Time, requests map[string]float64) {
	if m.routes == nil {
		m.routes, m.at = map[string]float64{}, start
	}
	weight := 1.0
	if gap := start.Sub(m.at); gap > 0 {
		keep := math.Exp2(-float64(gap) / float64(mixHalfLife))
		for r := range m.routes {
			if m.routes[r] *= keep; m.routes[r] < 1e-6 {
				delete(m.routes, r)
			}
		}
		m.at = start
	} else {
		weight = math.Exp2(float64(gap) / float64(mixHalfLife))
	}
	if weight < 1e-6 {
		return
	}
	for route, n := range requests {
		m.routes[route] += weight * n
	}
}

// drift is the share of today's requests that the measured mix did not have (total variation distance, 0 to 1), less what
// such samples of one and the same mix differ by; 0 while either is not known well enough.
func (m *mix) drift(c *foreshadowv1.CapacityMeasured) float64 {
	total := 0.0
	for _, n := range m.routes {
		total += n
	}
	if total < mixMinRequests || len(c.GetMix()) == 0 {
		return 0
	}
	measured := map[string]float64{}
	for _, s := range c.GetMix() {
		measured[s.GetStratum().GetRoute()] += s.GetShare()
	}
	var excess, rare, rareToday float64
	var shares []float64
	for r, n := range m.routes {
		today := n / total
		if max(today, measured[r]) < mixMinShare {
			rare += today - measured[r]
			rareToday += today
			continue
		}
		excess += max(0, today-measured[r])
		shares = append(shares, today)
	}
	for r, share := range measured {
		if _, seen := m.routes[r]; !seen && share < mixMinShare {
			rare -= share
		}
	}
	noise := 0.0
	if known := c.GetMixRequests(); known > 0 {
		noise = metric.MixNoise(append(shares, rareToday), known, total)
	}
	return max(0, excess+max(0, rare)-noise)
}
