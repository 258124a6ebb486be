package measure

import (
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

const (
	// renewAt is the share of its time to live after which a capacity is measured again, so that it does not expire while
	// the next measurement is under way.
	renewAt = 0.8
	// A measurement that was not valid is repeated after firstRetry, then after twice as long each time, at most lastRetry.
	firstRetry = 10 * time.Second
	lastRetry  = 5 * time.Minute
	// rest is how many times as long as a measurement took the instance goes back to the replay before one that was not
	// precise is gone on with: a third of its time is spent on that.
	rest = 2
	// MaxDrift is how far the mix of requests may move from the one a capacity was measured under: the share of all requests
	// that would have to be of another stratum.
	MaxDrift = 0.2
	// keptSteps bounds what measurements go on from.
	keptSteps = 200
)

// Record is what is known of a workload's capacity. Its zero value knows nothing.
type Record struct {
	version  string
	cores    float64 // given; 0 when not known
	memory   uint64  // the same in bytes
	rate     float64
	precise  bool
	mix      []*foreshadowv1.StratumShare
	requests float64 // that know the mix
	steps    []*foreshadowv1.CapacityStep
	at       time.Time // of the valid capacity
	renew    time.Time // when a valid capacity is to be measured again, from nothing
	refine   time.Time // until then the instance is left to the replay
	failures int
	retry    time.Time
}

// Add notes a measurement.
func (r *Record) Add(m *foreshadowv1.CapacityMeasured) {
	at := m.GetMeasureTime().AsTime()
	if !m.GetValid() {
		r.retry = at.Add(min(firstRetry<<min(r.failures, 10), lastRetry))
		r.failures++
		return
	}
	ttl := m.GetExpireTime().AsTime().Sub(at)
	renew := at.Add(time.Duration(renewAt * float64(ttl)))
	steps := m.GetSteps()
	took := held(steps)
	if r.goesOn(m) {
		renew = r.renew // the oldest steps are as old as they were
		took -= held(r.steps)
	}
	*r = Record{
		version: m.GetVersion(), cores: m.GetGivenCpuCores(), memory: m.GetGivenMemoryBytes(), rate: m.GetRequestsPerSecond(), precise: m.GetPrecise(), mix: m.GetMix(), requests: m.GetMixRequests(),
		steps: steps[max(0, len(steps)-keptSteps):], at: at, renew: renew, refine: at.Add(rest * took),
	}
}

// held is how long steps were held. It is known of a measurement of an earlier run of the runner, too.
func held(steps []*foreshadowv1.CapacityStep) time.Duration {
	sum := 0.0
	for _, s := range steps {
		if s.GetOfferedPerSecond() > 0 {
			sum += float64(s.GetRequests()) / s.GetOfferedPerSecond()
		}
	}
	return time.Duration(sum * float64(time.Second))
}

// goesOn says whether a measurement holds all the steps that were known before, and more.
func (r *Record) goesOn(m *foreshadowv1.CapacityMeasured) bool {
	return len(r.steps) > 0 && m.GetVersion() == r.version && m.GetGivenCpuCores() == r.cores && m.GetGivenMemoryBytes() == r.memory && len(m.GetSteps()) > len(r.steps) &&
		m.GetSteps()[0].GetOfferedPerSecond() == r.steps[0].GetOfferedPerSecond() && m.GetSteps()[0].GetLatencySeconds() == r.steps[0].GetLatencySeconds()
}

// Rate is the last valid capacity in requests per second; 0 when there is none.
func (r *Record) Rate() float64 { return r.rate }

// Why a capacity is to be measured.
const (
	NotKnown   = "not known"
	NewVersion = "new version"
	NewSize    = "new size"
	Old        = "old"
	MixMoved   = "mix moved"
	NotPrecise = "not precise"
)

// Due says why instances like the given one are to be measured now under the present mix, which is known from a number of
// requests drawn one by one; empty when they are not. Of a capacity of the future, measured while a clock was ahead, nobody knows the
// age: it is old.
func (r *Record) Due(now time.Time, of platform.Instance, mix []*foreshadowv1.StratumShare, requests float64) string {
	switch {
	case now.Before(r.retry) && r.retry.Sub(now) <= lastRetry: // none further away was meant
		return ""
	case r.rate == 0:
		return NotKnown
	case of.Version != r.version:
		return NewVersion
	case !r.sized(of.Size):
		return NewSize
	case now.Before(r.at), !now.Before(r.renew):
		return Old
	case now.Before(r.refine):
		return ""
	case Drift(r.mix, mix) > MaxDrift+r.chance(mix, requests):
		return MixMoved
	case !r.precise && len(StepsFrom(r.steps)) > 0:
		return NotPrecise
	}
	return ""
}

// sized says whether the capacity is that of instances of a size. What is not known of either is taken as equal.
func (r *Record) sized(s platform.Size) bool {
	const thousandth = 0.001 // platforms count CPU in them
	return (r.cores == 0 || s.CPUCores <= 0 || math.Abs(r.cores-s.CPUCores) < thousandth) &&
		(r.memory == 0 || s.MemoryBytes <= 0 || r.memory == uint64(s.MemoryBytes))
}

// Before are the steps that a measurement for the given reason goes on from.
func (r *Record) Before(why string) []probe.Step {
	if why != NotPrecise {
		return nil
	}
	return StepsFrom(r.steps)
}

// chance is by how much the present mix differs from the one that was measured when nothing moved.
func (r *Record) chance(mix []*foreshadowv1.StratumShare, requests float64) float64 {
	shares := make([]float64, len(mix))
	for i, s := range mix {
		shares[i] = s.GetShare()
	}
	return metric.MixNoise(shares, r.requests, requests)
}

// Drift is the total variation distance of two mixes, 0 to 1: the share of requests that would have to be of another stratum.
// A mix that is not known has drifted nowhere.
func Drift(a, b []*foreshadowv1.StratumShare) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	type key struct{ route, geography, device, network string }
	shares := map[key]float64{}
	add := func(list []*foreshadowv1.StratumShare, sign float64) {
		for _, s := range list {
			st := s.GetStratum()
			shares[key{st.GetRoute(), st.GetGeography(), st.GetDevice(), st.GetNetwork()}] += sign * s.GetShare()
		}
	}
	add(a, 1)
	add(b, -1)
	sum := 0.0
	for _, d := range shares {
		sum += math.Abs(d)
	}
	return sum / 2
}
