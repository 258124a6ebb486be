package platform

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestATrialIsValidated(t *testing.T) {
	t.Parallel()
	good := Trial{Name: "x-1", Instances: 3, CPUCores: 0.5, MemoryBytes: 1 << 20, Lease: time.Minute}
	if err := good.Validate(3); err != nil {
		t.Error(err)
	}
	for fault, spoil := range map[string]func(*Trial){
		"name":       func(x *Trial) { x.Name = "a.b" },
		"name: want": func(x *Trial) { x.Name = strings.Repeat("x", 64) },
		"instances":  func(x *Trial) { x.Instances = 4 },
		"lease":      func(x *Trial) { x.Lease = MaxLease + 1 },
		"cpu_cores":  func(x *Trial) { x.CPUCores = math.NaN() },
		"memory":     func(x *Trial) { x.MemoryBytes = -1 },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Validate(3); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v", fault, err)
		}
	}
}

func TestTrialsThatRunTheSame(t *testing.T) {
	t.Parallel()
	base := Trial{Name: "x", Instances: 1, Env: map[string]string{"A": "1"}, Lease: time.Second}
	longer := base
	longer.Lease = time.Hour
	if !base.Same(longer) {
		t.Error("another lease makes another trial")
	}
	for what, change := range map[string]func(*Trial){
		"instances": func(x *Trial) { x.Instances++ }, "cpu": func(x *Trial) { x.CPUCores = 1 }, "memory": func(x *Trial) { x.MemoryBytes = 1 },
		"image": func(x *Trial) { x.Image = "b" }, "environment": func(x *Trial) { x.Env = map[string]string{"A": "2"} },
	} {
		other := base
		if change(&other); base.Same(other) {
			t.Errorf("%s makes no difference", what)
		}
	}
}

func TestTheNameOfATrialsGroupIsTakenApart(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{
		TrialGroup("web", "x-1"): {"web", "x-1"}, TrialGroup("shop.web", "x"): {"shop.web", "x"}, "web": {}, ".x": {}, "web.": {}, "web.X": {},
	} {
		group, trial, ok := SplitTrialGroup(name)
		if got := [2]string{group, trial}; got != want || ok != (want != [2]string{}) {
			t.Errorf("%q: %v, %v", name, got, ok)
		}
	}
}
