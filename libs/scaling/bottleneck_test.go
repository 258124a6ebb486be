package scaling

import (
	"math"
	"strings"
	"testing"
)

func TestWhatRunsOutFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(in *Input)
		want   string
		growth float64
	}{
		// 960 requests/s over 10 instances are 96 of the 100 each carries.
		"what the shadow named": {func(in *Input) { in.Capacity.Bottleneck = "downstream" }, "downstream", 100. / 96},
		"nobody named it":       {func(*Input) {}, withinSLO, 100. / 96},
		// 100 MB and 1 MB for each of 96 requests/s.
		"memory before that":     {func(in *Input) { in.Limits.MemoryBytes = 190e6 }, Memory, 90. / 96},
		"cpu after that":         {func(in *Input) { in.Limits.CPUCores = 100 }, withinSLO, 100. / 96},
		"no capacity, but cpu":   {func(in *Input) { in.Capacity.Source = CapacityHint; in.Limits.CPUCores = 0.1 + 0.96 }, CPU, 2},
		"the base is too much":   {func(in *Input) { in.Limits.MemoryBytes = 90e6 }, Memory, 0},
		"a limit not a number":   {func(in *Input) { in.Limits.NetworkBytesPerSecond = math.NaN() }, withinSLO, 100. / 96},
		"nothing known":          {func(in *Input) { in.Capacity.Source = CapacityHint }, "", 0},
		"demand not known":       {func(in *Input) { in.Demand = nil; in.Limits.CPUCores = 1 }, "", 0},
		"a line that falls":      {func(in *Input) { in.Resources.CPU.PerRequest = -1; in.Limits.CPUCores = 1 }, withinSLO, 100. / 96},
		"of another size's knee": {func(in *Input) { in.Capacity.OtherSize = true; in.Limits.CPUCores = 0.1 + 0.96 }, CPU, 2},
	} {
		in := settled()
		tc.change(&in)
		d, _ := Decide(long, in, start)
		b := d.Evidence.Bottleneck
		if d.Production.Instances != 10 && tc.want != "" {
			t.Fatalf("%s: %d instances, the sums are for 10", name, d.Production.Instances)
		}
		if b.Resource != tc.want || math.Abs(b.Growth-tc.growth) > 1e-9 || has(d, RunsOutFirst) != (tc.want != "") {
			t.Errorf("%s: %+v, want %s at %v times: %v", name, b, tc.want, tc.growth, texts(d))
		}
	}
	in := settled()
	in.Limits.MemoryBytes = 190e6
	d, _ := Decide(long, in, start)
	if text := strings.Join(texts(d), "\n"); !strings.Contains(text, "an instance first runs out of memory: what it is sized for takes 103 % of it, 0.938 times that all") {
		t.Error(text)
	}
}
