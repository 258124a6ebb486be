package model

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// maxTried bounds the sizes that are remembered; the oldest is forgotten first.
const maxTried = 32

// try keeps what an experiment found of a size of instance. The newest word on a configuration counts, also when it says that
// nothing was held: then it is no choice any more. A configuration that differs in more than its size is another service.
func (m *Model) try(c *foreshadowv1.CapacityMeasured) {
	s := c.GetSimulation()
	old := m.tried[s.GetConfiguration()]
	if old != nil && !c.GetMeasureTime().AsTime().After(old.GetMeasureTime().AsTime()) {
		return
	}
	if m.tried == nil {
		m.tried = map[string]*foreshadowv1.CapacityMeasured{}
	}
	m.tried[s.GetConfiguration()] = c
	if len(m.tried) > maxTried {
		oldest := s.GetConfiguration()
		for name, t := range m.tried {
			if t.GetMeasureTime().AsTime().Before(m.tried[oldest].GetMeasureTime().AsTime()) {
				oldest = name
			}
		}
		delete(m.tried, oldest)
	}
}

// failure is a size under which users fared worse, and when that was seen.
type failure struct {
	size scaling.InstanceSize
	at   time.Time
}

// keptFailures bounds those that are remembered.
const keptFailures = 20

// rulesOut says whether a size is that one or a smaller one: on the way to it production passed through this one.
func (f failure) rulesOut(size scaling.InstanceSize) bool {
	return (f.size.CPUCores == 0 || size.CPUCores <= f.size.CPUCores) && (f.size.MemoryBytes == 0 || size.MemoryBytes <= f.size.MemoryBytes)
}

// triedSizes are the sizes that can be compared with production's, by name. The rate that was held is a lower bound of what
// they carry: an experiment holds the loads it was asked to, it does not look for the knee.
func (m *Model) triedSizes() []scaling.Tried {
	var out []scaling.Tried
	for name, c := range m.tried {
		s := c.GetSimulation()
		if rate := s.GetRequestsPerSecond(); !s.GetSizeOnly() || s.GetCpuCores() == 0 && s.GetMemoryBytes() == 0 || !(rate > 0) || math.IsInf(rate, 1) {
			continue
		}
		capacity := scaling.Capacity{
			Source: scaling.CapacityMeasured, PerSecond: s.GetRequestsPerSecond(),
			Measured: c.GetMeasureTime().AsTime(), Expires: expires(c), MixDrift: m.recent.drift(c),
		}
		size := scaling.InstanceSize{
			CPUCores:    cmp.Or(s.GetCpuCores(), m.workload.Production.CPUCores),
			MemoryBytes: float64(cmp.Or(s.GetMemoryBytes(), m.workload.Production.MemoryBytes)),
		}
		if slices.ContainsFunc(m.failed, func(f failure) bool { return f.rulesOut(size) && !capacity.Measured.After(f.at) }) {
			continue
		}
		out = append(out, scaling.Tried{
			Name: name, InstanceSize: size, Capacity: capacity,
			Price: s.GetPricePerHour() / float64(max(1, s.GetInstances())),
		})
	}
	slices.SortFunc(out, func(a, b scaling.Tried) int { return strings.Compare(a.Name, b.Name) })
	return out
}
