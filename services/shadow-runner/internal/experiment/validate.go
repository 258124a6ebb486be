package experiment

import (
	"fmt"
	"regexp"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	maxLoads          = 20
	maxConfigurations = 20
	maxAmplification  = 10.0
	maxHold           = 600.0
	defaultHold       = 10.0
	maxShape          = 1440
	maxInstances      = 500
	maxMinutes        = 24 * 60.0
	maxEnvironment    = 100
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Fault is one thing that is wrong with a request.
type Fault struct{ Field, Problem string }

// Faults lists all that is wrong with a request; nothing when it may run.
func Faults(req *foreshadowv1.CreateExperimentRequest) []Fault {
	var out []Fault
	fault := func(field, format string, args ...any) { out = append(out, Fault{field, fmt.Sprintf(format, args...)}) }
	if req.GetWorkload() == "" {
		fault("workload", "is required")
	}
	if h := req.GetHoldSeconds(); h != 0 && !(h >= 1 && h <= maxHold) {
		fault("hold_seconds", "want 1 to %v, got %v", maxHold, h)
	}
	if req.GetMatrix() != nil {
		if len(req.GetAmplifications()) > 0 {
			fault("amplifications", "are loads of the matrix when there is one")
		}
		matrixFaults(req, fault)
		return out
	}
	if n := len(req.GetAmplifications()); n < 1 || n > maxLoads {
		fault("amplifications", "want 1 to %d values, got %d", maxLoads, n)
	}
	for i, a := range req.GetAmplifications() {
		if !(a > 0 && a <= maxAmplification) {
			fault(fmt.Sprintf("amplifications[%d]", i), "want a value above 0 and at most %v, got %v", maxAmplification, a)
		}
	}
	return out
}

type faultFunc func(field, format string, args ...any)

func matrixFaults(req *foreshadowv1.CreateExperimentRequest, fault faultFunc) {
	m := req.GetMatrix()
	configurations, loads := len(m.GetConfigurations()), len(m.GetLoads())
	if configurations < 1 || configurations > maxConfigurations {
		fault("matrix.configurations", "want 1 to %d, got %d", maxConfigurations, configurations)
	}
	if loads < 1 || loads > maxLoads {
		fault("matrix.loads", "want 1 to %d, got %d", maxLoads, loads)
	}
	if m.GetMaxInstances() < 1 || m.GetMaxInstances() > maxInstances {
		fault("matrix.max_instances", "want 1 to %d, got %d", maxInstances, m.GetMaxInstances())
	}
	names := map[string]bool{}
	for i, c := range m.GetConfigurations() {
		at := fmt.Sprintf("matrix.configurations[%d].", i)
		nameFault(at+"name", c.GetName(), names, fault)
		configurationFaults(at, c, m.GetMaxInstances(), fault)
	}
	names = map[string]bool{}
	for i, l := range m.GetLoads() {
		at := fmt.Sprintf("matrix.loads[%d].", i)
		nameFault(at+"name", l.GetName(), names, fault)
		loadFaults(at, l, fault)
	}
	hold := req.GetHoldSeconds()
	if hold == 0 {
		hold = defaultHold
	}
	switch need := float64(configurations*loads) * hold / 60; {
	case !(m.GetMaxMinutes() > 0 && m.GetMaxMinutes() <= maxMinutes):
		fault("matrix.max_minutes", "want a value above 0 and at most %v, got %v", maxMinutes, m.GetMaxMinutes())
	case need > m.GetMaxMinutes() && hold >= 1 && hold <= maxHold:
		fault("matrix.max_minutes", "%d configurations under %d loads of %v s each need %.1f minutes, more than %v", configurations, loads, hold, need, m.GetMaxMinutes())
	}
}

func nameFault(field, name string, seen map[string]bool, fault faultFunc) {
	switch {
	case !namePattern.MatchString(name):
		fault(field, "want 1 to 32 lower-case letters, digits and dashes, got %q", name)
	case seen[name]:
		fault(field, "%q is given twice", name)
	}
	seen[name] = true
}

func configurationFaults(at string, c *foreshadowv1.ExperimentConfiguration, budget int32, fault faultFunc) {
	if n := c.GetInstances(); n < 1 || n > maxInstances {
		fault(at+"instances", "want 1 to %d, got %d", maxInstances, n)
	}
	switch n := c.GetShadowInstances(); {
	case n < 0 || n > max(1, c.GetInstances()):
		fault(at+"shadow_instances", "want 1 to the %d instances, got %d", c.GetInstances(), n)
	case n > budget && budget > 0:
		fault(at+"shadow_instances", "%d are more than the %d of the budget", n, budget)
	}
	if !(c.GetCpuCores() >= 0) {
		fault(at+"cpu_cores", "must not be negative, got %v", c.GetCpuCores())
	}
	if c.GetMemoryBytes() < 0 {
		fault(at+"memory_bytes", "must not be negative, got %d", c.GetMemoryBytes())
	}
	if len(c.GetEnvironment()) > maxEnvironment {
		fault(at+"environment", "want at most %d variables, got %d", maxEnvironment, len(c.GetEnvironment()))
	}
	if _, has := c.GetEnvironment()["PORT"]; has {
		fault(at+"environment", "PORT is the platform's")
	}
}

func loadFaults(at string, l *foreshadowv1.ExperimentLoad, fault faultFunc) {
	ways := 0
	if a := l.GetAmplification(); a != 0 {
		ways++
		if !(a > 0 && a <= maxAmplification) {
			fault(at+"amplification", "want a value above 0 and at most %v, got %v", maxAmplification, a)
		}
	}
	if r := l.GetRequestsPerSecond(); r != 0 {
		ways++
		if !(r > 0 && r <= 1e6) {
			fault(at+"requests_per_second", "want a value above 0 and at most 1e6, got %v", r)
		}
	}
	if n := len(l.GetShapePerSecond()); n > 0 {
		ways++
		sum := 0.0
		for _, r := range l.GetShapePerSecond() {
			if !(r >= 0 && r <= 1e6) {
				sum = -1
				break
			}
			sum += r
		}
		if n > maxShape || sum <= 0 {
			fault(at+"shape_per_second", "want at most %d rates from 0 to 1e6 that are not all 0", maxShape)
		}
	}
	if ways != 1 {
		fault(at+"name", "want one of amplification, requests_per_second and shape_per_second for %q, got %d", l.GetName(), ways)
	}
}

// validate returns the first fault: the wire has room for one.
func validate(req *foreshadowv1.CreateExperimentRequest) error {
	if faults := Faults(req); len(faults) > 0 {
		return &rpc.FieldError{Field: faults[0].Field, Problem: faults[0].Problem}
	}
	return nil
}
