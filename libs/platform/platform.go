// Package platform says what Foreshadow needs from a place where instances run: list them, watch them, measure them, scale
// them. Each sub-package is one such place. Every write is fenced: it carries the revision that was observed and the
// generation of the recommendation behind it, and a stale one is refused.
package platform

import (
	"errors"
	"fmt"
	"time"
)

// Phase is where an instance is in its life.
type Phase string

// Phases of an instance. Only a Ready instance gets new requests.
const (
	// Starting: the instance runs but cannot serve yet.
	Starting Phase = "starting"
	// Ready: the instance serves.
	Ready Phase = "ready"
	// Draining: the instance finishes its requests and gets no new ones.
	Draining Phase = "draining"
	// Failed: the instance did not become ready in time, or ended by itself; the platform replaces it.
	Failed Phase = "failed"
)

// Instance is one copy of the service.
type Instance struct {
	// ID is unique on the platform, over restarts too.
	ID string `json:"id"`
	// Address is host:port of its HTTP server.
	Address string `json:"address"`
	// Phase is where it is in its life.
	Phase Phase `json:"phase"`
	// Version names what it runs; instances of equal version are equal.
	Version string `json:"version"`
	// StartTime is when it was started.
	StartTime time.Time `json:"start_time"`
	// ReadyTime is when it first was ready; zero before.
	ReadyTime time.Time `json:"ready_time,omitzero"`
	// Size is what it was given; what is not known is 0.
	Size Size `json:"size,omitzero"`
}

// Size is what one instance is given; 0 = not known, or not asked for.
type Size struct {
	// CPUCores in cores.
	CPUCores float64 `json:"cpu_cores,omitempty"`
	// MemoryBytes in bytes.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// NetworkBytesPerSecond in each direction.
	NetworkBytesPerSecond float64 `json:"network_bytes_per_second,omitempty"`
}

// With is the size with the CPU and memory that a change asks for; what it does not ask for stays.
func (s Size) With(change Size) Size {
	if change.CPUCores > 0 {
		s.CPUCores = change.CPUCores
	}
	if change.MemoryBytes > 0 {
		s.MemoryBytes = change.MemoryBytes
	}
	return s
}

// State is what a platform knows of one group of instances.
type State struct {
	// Group names the instances.
	Group string `json:"group"`
	// Revision grows with every change of the group, its instances included.
	Revision uint64 `json:"revision"`
	// Generation is that of the last accepted change; 0 before the first.
	Generation uint64 `json:"generation"`
	// Desired is how many instances were asked for.
	Desired int `json:"desired"`
	// Foreign: somebody else has asked for Desired since the last accepted change.
	Foreign bool `json:"foreign,omitempty"`
	// Size is what new instances are given; what is not known is 0.
	Size Size `json:"size,omitzero"`
	// Instances are all that exist, oldest first.
	Instances []Instance `json:"instances"`
}

// Ready is the number of instances that serve.
func (s State) Ready() int {
	n := 0
	for _, i := range s.Instances {
		if i.Phase == Ready {
			n++
		}
	}
	return n
}

// Change asks for a size of a group.
type Change struct {
	// Instances wanted; 0 puts the group to sleep.
	Instances int `json:"instances"`
	// Generation of the recommendation behind it; must not be lower than that of the last accepted change.
	Generation uint64 `json:"generation"`
	// ObservedDesired is the desired number the decision was made upon; the change is refused when it is no longer so, for
	// then somebody else has changed the group.
	ObservedDesired int `json:"observed_desired"`
	// Size that each instance is to have; what is 0 stays as it is.
	Size Size `json:"size,omitzero"`
	// Epoch of the leadership that decided; a change of an older one than the platform has seen is refused. 0 when nobody else
	// can lead.
	Epoch uint64 `json:"epoch,omitempty"`
}

// Surroundings are what besides the group bounds a change of it. The zero value bounds nothing.
type Surroundings struct {
	// Controllers that scale the group too, each in words, for example `HorizontalPodAutoscaler "web" (2 to 10)`.
	Controllers []string
	// Resizers are those that change the size of its instances.
	Resizers []string
	// Removable instances at once, by the disruption budgets.
	Removable Bound
	// Addable instances, by quotas and by the room on the nodes.
	Addable Bound
}

// Bound is an upper limit; the zero value is none.
type Bound struct {
	// Set: there is a limit.
	Set bool
	// N is the limit, at least 0.
	N int
	// Reason says what sets it.
	Reason string
}

// Tighten lowers the bound to n when that is lower.
func (b *Bound) Tighten(n int, reason string) {
	if n = max(0, n); !b.Set || n < b.N {
		*b = Bound{Set: true, N: n, Reason: reason}
	}
}

// ErrConflict says that the group has changed since it was observed, or the generation is stale. Observe again.
var ErrConflict = errors.New("the group was changed by someone else")

// ErrNotFound says that the platform has no such group.
var ErrNotFound = errors.New("no such group")

// Usage is what one instance used, counted since it was started; two readings make a rate.
type Usage struct {
	// Instance is the ID of the instance.
	Instance string `json:"instance"`
	// Time of the reading.
	Time time.Time `json:"time"`
	// CPUSeconds used so far.
	CPUSeconds float64 `json:"cpu_seconds"`
	// MemoryBytes resident now.
	MemoryBytes uint64 `json:"memory_bytes"`
	// ReceivedBytes and TransmittedBytes so far.
	ReceivedBytes    uint64 `json:"received_bytes"`
	TransmittedBytes uint64 `json:"transmitted_bytes"`
	// Ready says whether the instance was serving.
	Ready bool `json:"ready"`
}

// NotFound returns ErrNotFound with the name of the group.
func NotFound(group string) error { return fmt.Errorf("group %q: %w", group, ErrNotFound) }
