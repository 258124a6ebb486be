package hpa

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

type podVector struct {
	Phase                              string
	Deleting, HasCond, Ready, HasStart bool
	StartAge, TransAge, MetricAge      float64
	HasMetric                          bool
	Window                             float64
	Value, Request                     int64
}

type replicaVector struct {
	Kind           string
	Current        int
	Target         int64
	TolUp, TolDown float64
	Pods           []podVector
	Ext            []int64
	Out            int
	Util           int64
	Err            bool
}

type directionVector struct {
	StabilizationWindowSeconds *int
	SelectPolicy               string
	Policies                   []struct {
		Type          string
		Value         int
		PeriodSeconds int
	}
}

type behaviorVector struct {
	Min, Max, Start int
	Behavior        *struct{ ScaleUp, ScaleDown directionVector }
	Dt              []float64
	Raw, Out        []int
}

// sources are the sample kept in the project and, where the checkout has it, the full set it was taken from.
func sources(t *testing.T, name string, full int) map[string]int {
	t.Helper()
	found := map[string]int{filepath.Join("testdata", name): 0}
	shared := filepath.Join("..", "..", "..", "..", "shared", "hpa", name)
	if _, err := os.Stat(shared); errors.Is(err, fs.ErrNotExist) {
		t.Logf("the full vector set %s is not here: only the sample in testdata is checked", shared)
		return found
	}
	found[shared] = full
	return found
}

func load[T any](t *testing.T, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	if err := json.NewDecoder(z).Decode(&out); err != nil {
		t.Fatalf("decode %s: %v", path, err)
	}
	if len(out) == 0 {
		t.Fatalf("%s holds no vectors", path)
	}
	return out
}

func TestReplicaVectors(t *testing.T) {
	t.Parallel()
	for path, full := range sources(t, "replicas.json.gz", 2000) {
		vectors := load[replicaVector](t, path)
		if full > 0 && len(vectors) != full {
			t.Errorf("%s: %d vectors, want %d", path, len(vectors), full)
		}
		for i, v := range vectors {
			c := DefaultCalculator()
			c.ToleranceUp, c.ToleranceDown = v.TolUp, v.TolDown
			got, observed, err := c.Replicas(v.Current, v.metric(t))
			if (err != nil) != v.Err {
				t.Errorf("%s[%d] %s: error %v, want error %t", path, i, v.Kind, err, v.Err)
			}
			if err == nil && (got != v.Out || observed != v.Util) {
				t.Errorf("%s[%d] %s: %d replicas at %d, want %d at %d", path, i, v.Kind, got, observed, v.Out, v.Util)
			}
		}
	}
}

func (v replicaVector) metric(t *testing.T) Metric {
	t.Helper()
	kinds := map[string]Kind{
		"cpuUtil": CPUUtilization, "memUtil": MemoryUtilization, "cpuRaw": CPUValue,
		"pods": PodsValue, "extValue": ExternalValue, "extAvg": ExternalAverage,
	}
	kind, ok := kinds[v.Kind]
	if !ok {
		t.Fatalf("unknown kind %q", v.Kind)
	}
	m := Metric{Kind: kind, Target: v.Target, External: v.Ext}
	phases := map[string]Phase{"Running": Running, "Pending": Pending, "Failed": Failed}
	for _, p := range v.Pods {
		phase, ok := phases[p.Phase]
		if !ok {
			t.Fatalf("unknown phase %q", p.Phase)
		}
		ready := ConditionAbsent
		if p.HasCond {
			ready = ConditionFalse
			if p.Ready {
				ready = ConditionTrue
			}
		}
		m.Pods = append(m.Pods, Pod{
			Phase: phase, Deleting: p.Deleting, Ready: ready, Started: p.HasStart,
			StartAge: age(p.StartAge), TransitionAge: age(p.TransAge), MetricAge: age(p.MetricAge),
			HasMetric: p.HasMetric, MetricWindow: time.Duration(p.Window * float64(time.Second)),
			Value: p.Value, Request: p.Request,
		})
	}
	return m
}

// age applies the recording's half second: every timestamp sits 0.5 s later than its age says.
func age(seconds float64) time.Duration {
	return time.Duration((seconds - 0.5) * float64(time.Second))
}

func TestBehaviorVectors(t *testing.T) {
	t.Parallel()
	for path, full := range sources(t, "behavior.json.gz", 750) {
		vectors := load[behaviorVector](t, path)
		if full > 0 && len(vectors) != full {
			t.Errorf("%s: %d vectors, want %d", path, len(vectors), full)
		}
		for i, v := range vectors {
			rules, current, now := v.rules(), v.Start, time.Unix(1e9, 0)
			var h History
			for k, raw := range v.Raw {
				now = now.Add(time.Duration(v.Dt[k] * float64(time.Second)))
				current, h = rules.Normalize(h, current, raw, now)
				if current != v.Out[k] {
					t.Errorf("%s[%d] tick %d: %d replicas, want %d", path, i, k, current, v.Out[k])
					break
				}
			}
		}
	}
}

func (v behaviorVector) rules() Rules {
	r := Rules{Min: v.Min, Max: v.Max, LegacyStabilization: 300 * time.Second}
	if v.Behavior == nil {
		return r
	}
	b := DefaultBehavior()
	v.Behavior.ScaleUp.apply(&b.Up)
	v.Behavior.ScaleDown.apply(&b.Down)
	r.Behavior = &b
	return r
}

func (v directionVector) apply(d *Direction) {
	if v.StabilizationWindowSeconds != nil {
		d.Stabilization = time.Duration(*v.StabilizationWindowSeconds) * time.Second
	}
	d.Select = map[string]Select{"Max": SelectMax, "Min": SelectMin, "Disabled": SelectDisabled}[v.SelectPolicy]
	if v.Policies == nil {
		return
	}
	d.Policies = nil
	for _, p := range v.Policies {
		kind := map[string]PolicyType{"Pods": Pods, "Percent": Percent}[p.Type]
		d.Policies = append(d.Policies, Policy{kind, p.Value, time.Duration(p.PeriodSeconds) * time.Second})
	}
}
