package model

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/scaling"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// maxAhead is how far another machine's clock may be ahead of this one's.
const maxAhead = time.Minute

// Memory is what was learnt by deciding and cannot be read from history, to be kept for the next start; nil before the first
// decision.
func (m *Model) Memory() (*foreshadowv1.ScalingRemembered, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.At().IsZero() {
		return nil, nil
	}
	state, err := m.state.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("remember workload %s: %w", m.workload.Name, err)
	}
	out := &foreshadowv1.ScalingRemembered{
		Workload: m.workload.Name, CreateTime: timestamppb.New(m.state.At()), State: state,
		SloLatencySeconds: m.workload.SLO.Latency.Seconds(), SloQuantile: m.workload.SLO.Quantile,
	}
	for _, c := range m.tried {
		c = proto.CloneOf(c)
		c.Steps, c.Scalability = nil, nil
		out.Tried = append(out.Tried, c)
	}
	for _, f := range m.failed {
		out.Failed = append(out.Failed, &foreshadowv1.SizeFailure{
			CpuCores: f.size.CPUCores, MemoryBytes: uint64(max(0, f.size.MemoryBytes)), CreateTime: timestamppb.New(f.at),
		})
	}
	return out, nil
}

// Recall has the next decision go on from what an earlier run, or another predictor, kept. It returns how much of the past its
// fleets on paper were played against. One that cannot be read, was learnt under another SLO, is of the future, or is older than all
// it speaks of is an error, and changes nothing.
func (m *Model) Recall(r *foreshadowv1.ScalingRemembered, now time.Time) (played time.Duration, err error) {
	var state scaling.State
	if err := state.UnmarshalBinary(r.GetState()); err != nil {
		return 0, err
	}
	slo := m.workload.SLO
	switch age := now.Sub(state.At()); {
	case r.GetSloLatencySeconds() != slo.Latency.Seconds() || r.GetSloQuantile() != slo.Quantile:
		return 0, fmt.Errorf("it was learnt under another SLO: %gs at %g", r.GetSloLatencySeconds(), r.GetSloQuantile())
	case age < -maxAhead:
		return 0, fmt.Errorf("it is of %s, which is to come", state.At())
	case age > max(m.config.BudgetMemory, m.config.SizeMemory):
		return 0, fmt.Errorf("it is %s old, and older than what it speaks of", age)
	}
	for _, c := range r.GetTried() {
		if c.GetSimulation() != nil {
			m.ObserveCapacity(AsOf(now, c))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range r.GetFailed() {
		m.fail(failure{scaling.InstanceSize{CPUCores: f.GetCpuCores(), MemoryBytes: float64(f.GetMemoryBytes())}, f.GetCreateTime().AsTime()})
	}
	m.recalled = &state
	return state.Played(), nil
}

// resume goes on from what was recalled, unless more was learnt until it came.
func (m *Model) resume(in scaling.Input, now time.Time) {
	if m.recalled == nil {
		return
	}
	if m.recalled.Played() >= m.state.Played() {
		m.state = m.recalled.Resume(in, now)
	}
	m.recalled = nil
}

// Played is how much of the past the fleets on paper were played against.
func (m *Model) Played() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Played()
}

// fail notes a size that production was taken back from: what had been found of it by then does not hold. It may be told twice.
func (m *Model) fail(f failure) {
	if f.size == (scaling.InstanceSize{}) {
		return // only the number of instances was taken back
	}
	if slices.ContainsFunc(m.failed, func(old failure) bool { return old.size == f.size && old.at.Equal(f.at) }) {
		return
	}
	m.failed = append(m.failed, f)
	slices.SortStableFunc(m.failed, func(x, y failure) int { return x.at.Compare(y.at) })
	m.failed = m.failed[max(0, len(m.failed)-keptFailures):]
}
