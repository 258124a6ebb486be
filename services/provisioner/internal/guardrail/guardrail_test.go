package guardrail_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// usual is the subject the tables vary.
func usual() guardrail.Subject {
	return guardrail.Subject{
		Limits: workload.Limits{Min: 2, Max: 20},
		Rules:  workload.Guardrails{Mode: workload.Automatic, RatePeriod: time.Minute, StabiliseDown: time.Minute, VerifyTimeout: time.Minute},
	}
}

func recommend(instances int) guardrail.Recommendation {
	return guardrail.Recommendation{Instances: instances, Generation: 7, ExpireTime: noon.Add(time.Second)}
}

type vector struct {
	subject   func(*guardrail.Subject)
	situation guardrail.Situation
	recommend guardrail.Recommendation
	kind      guardrail.Kind
	target    int
	hit       []string
}

func check(t *testing.T, vectors map[string]vector) {
	t.Helper()
	for name, v := range vectors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := usual()
			if v.subject != nil {
				v.subject(&s)
			}
			got := guardrail.Check(s, v.situation, v.recommend, noon)
			if got.Kind != v.kind || got.Target != v.target {
				t.Errorf("%s to %d (%s), want %s to %d", got.Kind, got.Target, got.Reason, v.kind, v.target)
			}
			if diff := cmp.Diff(v.hit, got.Guardrails); diff != "" {
				t.Error(diff)
			}
			if (len(v.hit) > 0) != (got.Reason != "") && got.Kind != guardrail.Plan && got.Kind != guardrail.Propose {
				t.Errorf("guardrails %v and reason %q", v.hit, got.Reason)
			}
		})
	}
}

func TestWhatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	five := guardrail.Situation{Desired: 5, Generation: 7}
	with := func(change func(*guardrail.Recommendation)) guardrail.Recommendation {
		r := recommend(9)
		change(&r)
		return r
	}
	refused := func(r guardrail.Recommendation, hit string) vector {
		return vector{situation: five, recommend: r, kind: guardrail.Refuse, target: 5, hit: []string{hit}}
	}
	paused := refused(recommend(9), guardrail.Paused)
	paused.situation.Paused = true
	check(t, map[string]vector{
		"zero":               refused(recommend(0), guardrail.Invalid),
		"negative":           refused(recommend(-1), guardrail.Invalid),
		"CPU not a number":   refused(with(func(r *guardrail.Recommendation) { r.CPUCores = math.NaN() }), guardrail.Invalid),
		"CPU negative":       refused(with(func(r *guardrail.Recommendation) { r.CPUCores = -1 }), guardrail.Invalid),
		"bandwidth infinite": refused(with(func(r *guardrail.Recommendation) { r.NetworkBytesPerSecond = math.Inf(1) }), guardrail.Invalid),
		"no generation":      refused(with(func(r *guardrail.Recommendation) { r.Generation = 0 }), guardrail.Invalid),
		"no expiry":          refused(with(func(r *guardrail.Recommendation) { r.ExpireTime = time.Time{} }), guardrail.Invalid),
		"expired":            refused(with(func(r *guardrail.Recommendation) { r.ExpireTime = noon }), guardrail.Expired),
		"stale":              refused(with(func(r *guardrail.Recommendation) { r.Generation = 6 }), guardrail.Generation),
		"paused":             paused,
	})
}

func TestLimitsStepsAndRates(t *testing.T) {
	t.Parallel()
	steps := func(s *guardrail.Subject) { s.Rules.MaxStepUp, s.Rules.MaxStepDown = 3, 2 }
	rates := func(s *guardrail.Subject) { s.Rules.MaxRateUp, s.Rules.MaxRateDown = 4, 3 }
	lately := []guardrail.Change{{Time: ago(2 * time.Minute), Delta: 9}, {Time: ago(30 * time.Second), Delta: 3}, {Time: ago(time.Second), Delta: -2}}
	desired := func(n int) guardrail.Situation { return guardrail.Situation{Desired: n, Changes: lately} }
	check(t, map[string]vector{
		"up":                        {nil, desired(5), recommend(9), guardrail.Apply, 9, nil},
		"down":                      {nil, desired(9), recommend(5), guardrail.Apply, 5, nil},
		"same":                      {nil, desired(5), recommend(5), guardrail.Keep, 5, nil},
		"above the maximum":         {nil, desired(5), recommend(30), guardrail.Apply, 20, []string{guardrail.Max}},
		"at the maximum":            {nil, desired(20), recommend(30), guardrail.Refuse, 20, []string{guardrail.Max}},
		"below the minimum":         {nil, desired(5), recommend(1), guardrail.Apply, 2, []string{guardrail.Min}},
		"step up":                   {steps, desired(5), recommend(9), guardrail.Apply, 8, []string{guardrail.MaxStepUp}},
		"step down":                 {steps, desired(9), recommend(5), guardrail.Apply, 7, []string{guardrail.MaxStepDown}},
		"a step does not end below": {steps, desired(0), recommend(9), guardrail.Apply, 3, []string{guardrail.MaxStepUp}},
		"limits are harder":         {steps, desired(30), recommend(9), guardrail.Apply, 20, []string{guardrail.MaxStepDown, guardrail.Max}},
		"rate up, one is left":      {rates, desired(5), recommend(9), guardrail.Apply, 6, []string{guardrail.MaxRateUp}},
		"rate down, one is left":    {rates, desired(9), recommend(5), guardrail.Apply, 8, []string{guardrail.MaxRateDown}},
		"rate up is used up": {
			rates, guardrail.Situation{Desired: 5, Changes: append(slices.Clone(lately), guardrail.Change{Time: ago(0), Delta: 1})},
			recommend(9), guardrail.Refuse, 5, []string{guardrail.MaxRateUp},
		},
	})
}

func TestOnlyScalingDownIsStabilised(t *testing.T) {
	t.Parallel()
	wanted := []guardrail.Want{{Time: ago(2 * time.Minute), Instances: 15}, {Time: ago(30 * time.Second), Instances: 7}, {Time: ago(time.Second), Instances: 3}}
	at := func(desired int) guardrail.Situation { return guardrail.Situation{Desired: desired, Wanted: wanted} }
	check(t, map[string]vector{
		"down to the highest of the window": {nil, at(9), recommend(4), guardrail.Apply, 7, []string{guardrail.StabiliseDown}},
		"not down":                          {nil, at(7), recommend(4), guardrail.Refuse, 7, []string{guardrail.StabiliseDown}},
		"never up because of the past":      {nil, at(5), recommend(4), guardrail.Refuse, 5, []string{guardrail.StabiliseDown}},
		"up at once":                        {nil, at(5), recommend(6), guardrail.Apply, 6, nil},
		"no window":                         {func(s *guardrail.Subject) { s.Rules.StabiliseDown = 0 }, at(9), recommend(4), guardrail.Apply, 4, nil},
	})
}

func TestWithoutDataNothingIsRemoved(t *testing.T) {
	t.Parallel()
	hold := func(n int) guardrail.Recommendation {
		r := recommend(n)
		r.Hold = true
		return r
	}
	at := guardrail.Situation{Desired: 9}
	check(t, map[string]vector{
		"fewer": {nil, at, hold(4), guardrail.Refuse, 9, []string{guardrail.Hold}},
		"same":  {nil, at, hold(9), guardrail.Keep, 9, nil},
		"more":  {nil, at, hold(11), guardrail.Apply, 11, nil},
	})
}

func TestModes(t *testing.T) {
	t.Parallel()
	mode := func(m workload.Mode) func(*guardrail.Subject) {
		return func(s *guardrail.Subject) { s.Rules.Mode = m }
	}
	asleep := func(s *guardrail.Subject) { s.MaySleep, s.Limits.Min = true, 0 }
	at := guardrail.Situation{Desired: 5}
	approved, verifying := at, at
	approved.Approved, verifying.Verifying = true, true
	check(t, map[string]vector{
		"dry run":                  {mode(workload.DryRun), at, recommend(9), guardrail.Plan, 9, []string{guardrail.DryRun}},
		"dry run, nothing to do":   {mode(workload.DryRun), at, recommend(5), guardrail.Keep, 5, nil},
		"dry run, approved":        {mode(workload.DryRun), approved, recommend(9), guardrail.Plan, 9, []string{guardrail.DryRun}},
		"waits for approval":       {mode(workload.Approve), at, recommend(9), guardrail.Propose, 9, []string{guardrail.Approval}},
		"approved":                 {mode(workload.Approve), approved, recommend(9), guardrail.Apply, 9, nil},
		"up while verifying":       {nil, verifying, recommend(9), guardrail.Apply, 9, nil},
		"down while verifying":     {nil, verifying, recommend(3), guardrail.Wait, 5, nil},
		"sleep, where it is meant": {asleep, at, recommend(0), guardrail.Apply, 0, nil},
	})
}

// TestPromises holds over anything that can come in.
func TestPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seconds := func(name string) time.Time {
			return ago(time.Duration(rapid.IntRange(-5, 120).Draw(t, name)) * time.Second)
		}
		count := func(name string, least, most int) int { return rapid.IntRange(least, most).Draw(t, name) }
		s := guardrail.Subject{Limits: workload.Limits{Min: count("min", 0, 5)}, MaySleep: rapid.Bool().Draw(t, "may sleep")}
		s.Limits.Max = max(1, s.Limits.Min) + count("span", 0, 10)
		s.Rules = workload.Guardrails{
			Mode:      rapid.SampledFrom([]workload.Mode{workload.Automatic, workload.DryRun, workload.Approve}).Draw(t, "mode"),
			MaxStepUp: count("step up", 0, 4), MaxStepDown: count("step down", 0, 4), RatePeriod: time.Minute,
			MaxRateUp: count("rate up", 0, 6), MaxRateDown: count("rate down", 0, 6),
			StabiliseDown: time.Duration(count("window", 0, 90)) * time.Second, VerifyTimeout: time.Minute,
		}
		now := guardrail.Situation{
			Desired: count("desired", 0, 20), Generation: uint64(count("acted", 0, 3)), Paused: rapid.Bool().Draw(t, "paused"),
			Approved: rapid.Bool().Draw(t, "approved"), Verifying: rapid.Bool().Draw(t, "verifying"),
		}
		for range count("changes", 0, 4) {
			now.Changes = append(now.Changes, guardrail.Change{Time: seconds("changed"), Delta: count("delta", -5, 5)})
		}
		for range count("wants", 0, 4) {
			now.Wanted = append(now.Wanted, guardrail.Want{Time: seconds("wanted"), Instances: count("want", -5, 30)})
		}
		r := guardrail.Recommendation{
			Instances: count("instances", -3, 30), CPUCores: rapid.Float64().Draw(t, "cpu"),
			Generation: uint64(count("generation", 0, 4)), ExpireTime: seconds("expires"), Hold: rapid.Bool().Draw(t, "hold"),
		}
		v := guardrail.Check(s, now, r, noon)
		acts := v.Kind == guardrail.Apply || v.Kind == guardrail.Plan || v.Kind == guardrail.Propose
		inside := v.Target >= s.Limits.Min && v.Target <= s.Limits.Max
		wasInside := now.Desired >= s.Limits.Min && now.Desired <= s.Limits.Max
		switch {
		case acts && !inside:
			t.Fatalf("target %d is outside the limits", v.Target)
		case acts == (v.Target == now.Desired):
			t.Fatalf("%s with target %d of %d", v.Kind, v.Target, now.Desired)
		case acts && (now.Paused || r.Generation < now.Generation || !noon.Before(r.ExpireTime) || r.Instances < 0 || !(r.CPUCores >= 0)):
			t.Fatalf("%s of what cannot be used", v.Kind)
		case v.Kind == guardrail.Refuse && len(v.Guardrails) == 0:
			t.Fatal("refused by nobody")
		case v.Target < now.Desired && wasInside && (r.Instances >= now.Desired || r.Hold):
			t.Fatalf("shrinks from %d to %d, which nobody wanted", now.Desired, v.Target)
		case v.Target > now.Desired && wasInside && v.Target > r.Instances:
			t.Fatalf("grows from %d to %d, which nobody wanted", now.Desired, v.Target)
		}
		// Lower sizes wanted in the past change nothing about scaling up.
		forgetful := now
		forgetful.Wanted = nil
		if up := guardrail.Check(s, forgetful, r, noon); up.Target > now.Desired && up.Target != v.Target {
			t.Fatalf("the past holds a scale-up to %d at %d", up.Target, v.Target)
		}
	})
}

func TestRememberForgetsWhatIsOld(t *testing.T) {
	t.Parallel()
	var wanted []guardrail.Want
	for second := range 10 {
		wanted = guardrail.Remember(wanted, guardrail.Want{Time: noon.Add(time.Duration(second) * time.Second), Instances: second}, 3*time.Second)
	}
	if len(wanted) != 4 || wanted[0].Instances != 6 {
		t.Errorf("remembers %v, want the last three seconds and now", wanted)
	}
}
