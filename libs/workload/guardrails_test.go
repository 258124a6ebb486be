package workload_test

import (
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
)

func TestWindowContains(t *testing.T) {
	t.Parallel()
	night := workload.Window{Days: []string{"fri"}, From: "22:00", To: "06:00", Zone: "Europe/Berlin"}
	noon := workload.Window{From: "12:00", To: "13:30"}
	for text, want := range map[string][2]bool{ // night, noon; 2026-01-02 is a Friday, Berlin is an hour ahead
		"2026-01-02T20:59:59Z": {false, false},
		"2026-01-02T21:00:00Z": {true, false},
		"2026-01-03T04:59:00Z": {true, false},
		"2026-01-03T05:00:00Z": {false, false},
		"2026-01-03T21:30:00Z": {false, false},
		"2026-01-02T04:00:00Z": {false, false},
		"2026-01-05T12:00:00Z": {false, true},
		"2026-01-05T13:29:59Z": {false, true},
		"2026-01-05T13:30:00Z": {false, false},
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{night.Contains(at), noon.Contains(at)}; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if (workload.Window{From: "x", To: "y"}).Contains(time.Now()) {
		t.Error("a window that is not valid contains now")
	}
	if got := night.String(); got != "fri 22:00-06:00 Europe/Berlin" {
		t.Errorf("window %q", got)
	}
}

func TestGuardrailFaults(t *testing.T) {
	t.Parallel()
	w := workload.Default()
	w.Guardrails.CooldownUp = -time.Second
	w.Guardrails.OtherControllers = "fight"
	w.Guardrails.ScaleUp = workload.Behavior{Select: "mean", Policies: []workload.RatePolicy{{Type: "pods", Value: 0, Period: time.Second}}}
	w.Guardrails.Maintenance = []workload.Window{{From: "22:00", To: "22:00"}, {From: "25:00", To: "1:00"}, {Days: []string{"someday"}, From: "1:00", To: "2:00"}}
	err := w.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{
		"guardrails.cooldown_up", "guardrails.other_controllers", "guardrails.scale_up.select", "guardrails.scale_up.policies[0]",
		"guardrails.maintenance[0]", "guardrails.maintenance[1]", "guardrails.maintenance[2]",
	} {
		if !strings.Contains(err.Error(), key+":") {
			t.Errorf("no fault of %s in %v", key, err)
		}
	}
}

func TestPlaceFaults(t *testing.T) {
	t.Parallel()
	w := workload.Default()
	w.Production = workload.Target{Platform: "kubernetes", Group: "a", Kubernetes: workload.Kubernetes{Name: "x y"}}
	w.Shadow = workload.Target{Platform: "moon", Group: "b"}
	err := w.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{
		"production.kubernetes.namespace", "production.kubernetes.name", "production.kubernetes.port", "shadow.platform",
	} {
		if !strings.Contains(err.Error(), key+":") {
			t.Errorf("no fault of %s in %v", key, err)
		}
	}
	w.Shadow = w.Production
	w.Shadow.Group = "b"
	if err := w.Validate(); !strings.Contains(err.Error(), "shadow.kubernetes:") {
		t.Errorf("the shadow is production's own object: %v", err)
	}
}

func TestContainersOfAnEngineAreNamed(t *testing.T) {
	t.Parallel()
	w := workload.Default()
	w.Production = workload.Target{Platform: "docker", Group: "a", Docker: workload.Docker{
		Labels: map[string]string{"a=b": ""}, Port: 70000, ReadyPath: "healthz", DrainTimeout: -1,
	}}
	w.Shadow = workload.Target{Platform: "docker", Group: "b"}
	err := w.Validate()
	for _, key := range []string{
		"production.docker.labels", "production.docker.port", "production.docker.ready_path", "production.docker: start_timeout", "shadow.docker.labels",
	} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
	w.Production.Docker.Labels = map[string]string{"service": "web"}
	w.Shadow.Docker.Labels = map[string]string{"service": "web"}
	if err := w.Validate(); !strings.Contains(err.Error(), "shadow.docker.labels: are production's own") {
		t.Errorf("%v, want production's containers refused as a shadow", err)
	}
}

func TestMemoryAndPrice(t *testing.T) {
	t.Parallel()
	g := workload.Guardrails{RatePeriod: time.Minute, ScaleDown: workload.Behavior{Policies: []workload.RatePolicy{{Period: time.Hour}}}}
	if g.Memory() != time.Hour {
		t.Errorf("memory %v", g.Memory())
	}
	if got := (workload.Prices{InstanceHour: 1, CPUCoreHour: 2, MemoryGiBHour: 4}).Hourly(0.5, 2<<30); got != 10 {
		t.Errorf("price %v", got)
	}
}
