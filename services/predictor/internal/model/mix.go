package model

import (
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	mixHalfLife   = 60 * time.Second
	mixMinRequest = 200 // below it the shares are noise
)

// mix is the share of each route in the traffic of the last minutes, with exponential forgetting.
type mix struct {
	at     time.Time
	total  float64
	routes map[string]float64
}

func (m *mix) add(start time.Time, strata metric.Strata) {
	if m.routes == nil {
		m.routes = map[string]float64{}
	}
	if gap := start.Sub(m.at); gap > 0 {
		keep := math.Exp2(-float64(gap) / float64(mixHalfLife))
		m.total *= keep
		for r := range m.routes {
			if m.routes[r] *= keep; m.routes[r] < 1e-6 {
				delete(m.routes, r)
			}
		}
		m.at = start
	}
	for st, c := range strata {
		m.routes[st.Route] += float64(c.Requests)
		m.total += float64(c.Requests)
	}
}

// drift is the share of today's requests that the measured mix did not have (total variation distance, 0 to 1); 0 while
// either is not known well enough.
func (m *mix) drift(c *foreshadowv1.CapacityMeasured) float64 {
	if m.total < mixMinRequest || len(c.GetMix()) == 0 {
		return 0
	}
	measured := map[string]float64{}
	for _, s := range c.GetMix() {
		measured[s.GetStratum().GetRoute()] += s.GetShare()
	}
	var excess float64
	for r, n := range m.routes {
		excess += max(0, n/m.total-measured[r])
	}
	return excess
}
