package platform

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"
)

const (
	// MaxTrials bounds how many run on one platform at a time.
	MaxTrials = 20
	// MaxLease bounds how long a trial outlives whoever asked for it.
	MaxLease = 10 * time.Minute
)

// trialName is what can be part of a host's and an object's name.
var trialName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Trial is a variation of a group that runs beside it for an experiment, and is gone soon after nobody asks for it any more.
type Trial struct {
	// Name tells the trials of a group apart: lower-case letters, digits and dashes.
	Name string `json:"name"`
	// Instances wanted.
	Instances int `json:"instances"`
	// Env is set in the environment, over that of the group.
	Env map[string]string `json:"env,omitempty"`
	// Image replaces what an instance runs; empty = as in the group.
	Image string `json:"image,omitempty"`
	// CPUCores and MemoryBytes of an instance; 0 = as in the group.
	CPUCores float64 `json:"cpu_cores,omitempty"`
	// MemoryBytes of an instance; 0 = as in the group.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// Lease is how long the trial lives unless it is asked for again.
	Lease time.Duration `json:"lease"`
}

// ErrUnsupported says that the platform cannot run a trial as it was asked for. What it cannot give it does not pretend.
var ErrUnsupported = errors.New("the platform cannot do that")

// Validate names the fault of a trial that must not be begun; maxInstances is what the platform runs of one group.
func (t Trial) Validate(maxInstances int) error {
	switch {
	case !trialName.MatchString(t.Name):
		return fmt.Errorf("name: want 1 to 63 lower-case letters, digits and dashes, got %q", t.Name)
	case t.Instances < 1 || t.Instances > maxInstances:
		return fmt.Errorf("instances: want 1 to %d, got %d", maxInstances, t.Instances)
	case t.Lease <= 0 || t.Lease > MaxLease:
		return fmt.Errorf("lease: want at most %v, got %v", MaxLease, t.Lease)
	case !(t.CPUCores >= 0) || t.MemoryBytes < 0:
		return fmt.Errorf("cpu_cores and memory_bytes: must not be negative, got %v and %d", t.CPUCores, t.MemoryBytes)
	default:
		return nil
	}
}

// Same says whether two trials run the same, whatever their leases.
func (t Trial) Same(other Trial) bool {
	return t.Name == other.Name && t.Instances == other.Instances && t.Image == other.Image && t.CPUCores == other.CPUCores &&
		t.MemoryBytes == other.MemoryBytes && maps.Equal(t.Env, other.Env)
}

// Size that is asked for; what is 0 is as in the group.
func (t Trial) Size() Size { return Size{CPUCores: t.CPUCores, MemoryBytes: t.MemoryBytes} }

// TrialGroup is the name of the group that the instances of a trial form.
func TrialGroup(group, trial string) string { return fmt.Sprintf("%s.%s", group, trial) }

// SplitTrialGroup takes such a name apart; false when it is none.
func SplitTrialGroup(name string) (group, trial string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 1 || !trialName.MatchString(name[i+1:]) {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}
