package platform

import (
	"errors"
	"fmt"
	"time"
)

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

// TrialGroup is the name of the group that the instances of a trial form.
func TrialGroup(group, trial string) string { return fmt.Sprintf("%s.%s", group, trial) }
