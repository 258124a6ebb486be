package experiment

import (
	"math"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const gib = 1 << 30

// PricePerHour is what all instances of a configuration cost for an hour; what it does not say is as in the target. 0 when no
// price is known.
func PricePerHour(p workload.Prices, t workload.Target, c *foreshadowv1.ExperimentConfiguration) float64 {
	cores, memory := t.CPUCores, float64(t.MemoryBytes)
	if c.GetCpuCores() > 0 {
		cores = c.GetCpuCores()
	}
	if c.GetMemoryBytes() > 0 {
		memory = float64(c.GetMemoryBytes())
	}
	return float64(c.GetInstances()) * (p.InstanceHour + cores*p.CPUCoreHour + memory/gib*p.MemoryGiBHour)
}

// PricePerMillion is what a million requests cost at a rate in requests per second.
func PricePerMillion(perHour, rate float64) float64 {
	if rate <= 0 {
		return 0
	}
	return perHour / (rate * 3600) * 1e6
}

// Cheapest is the name of the cheapest configuration that met the SLO under every load: by price or, where prices are equal or
// not known, by number of instances. Empty when none did. A cell without a result met nothing.
func Cheapest(m *foreshadowv1.ExperimentMatrix, cells []*foreshadowv1.ExperimentCell, perHour func(*foreshadowv1.ExperimentConfiguration) float64) string {
	met := map[string]int{}
	for _, c := range cells {
		if c.GetResult().GetSloMet() {
			met[c.GetConfiguration()]++
		}
	}
	best, price, instances := "", math.Inf(1), int32(math.MaxInt32)
	for _, c := range m.GetConfigurations() {
		if met[c.GetName()] < len(m.GetLoads()) {
			continue
		}
		if p := perHour(c); p < price || p == price && c.GetInstances() < instances {
			best, price, instances = c.GetName(), p, c.GetInstances()
		}
	}
	return best
}
