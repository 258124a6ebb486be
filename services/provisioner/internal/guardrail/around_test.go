package guardrail_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
)

func rules(change func(*workload.Guardrails)) func(*guardrail.Subject) {
	return func(s *guardrail.Subject) {
		s.Rules.StabiliseDown = 0
		change(&s.Rules)
	}
}

func none(*workload.Guardrails) {}

func TestWhoElseWorksOnIt(t *testing.T) {
	t.Parallel()
	hpa := platform.Surroundings{Controllers: []string{`HorizontalPodAutoscaler "web"`}}
	hold := rules(func(g *workload.Guardrails) { g.ManualHold = time.Minute })
	check(t, map[string]vector{
		"maintenance": {
			subject:   rules(func(g *workload.Guardrails) { g.Maintenance = []workload.Window{{From: "11:30", To: "12:30"}} }),
			situation: guardrail.Situation{Desired: 5}, recommend: recommend(9), kind: guardrail.Refuse, target: 5, hit: []string{guardrail.Maintenance},
		},
		"after maintenance": {
			subject:   rules(func(g *workload.Guardrails) { g.Maintenance = []workload.Window{{From: "11:30", To: "12:00"}} }),
			situation: guardrail.Situation{Desired: 5}, recommend: recommend(9), kind: guardrail.Apply, target: 9,
		},
		"a person's size is left alone": {
			subject: hold, situation: guardrail.Situation{Desired: 5, ManualTime: ago(59 * time.Second)}, recommend: recommend(9),
			kind: guardrail.Refuse, target: 5, hit: []string{guardrail.ManualChange},
		},
		"until its time has passed": {
			subject: hold, situation: guardrail.Situation{Desired: 5, ManualTime: ago(time.Minute)}, recommend: recommend(9), kind: guardrail.Apply, target: 9,
		},
		"an HPA is in the way": {
			subject: rules(none), situation: guardrail.Situation{Desired: 5, Around: hpa}, recommend: recommend(9),
			kind: guardrail.Refuse, target: 5, hit: []string{guardrail.Controller},
		},
		"an HPA is served": {
			subject:   rules(func(g *workload.Guardrails) { g.OtherControllers = workload.ServeOthers }),
			situation: guardrail.Situation{Desired: 5, Around: hpa}, recommend: recommend(9),
			kind: guardrail.Plan, target: 9, hit: []string{guardrail.Controller},
		},
	})
}

func TestQuotaBudgetAndPriceBound(t *testing.T) {
	t.Parallel()
	around := platform.Surroundings{
		Addable:   platform.Bound{Set: true, N: 2, Reason: `quota "team" is used up`},
		Removable: platform.Bound{Set: true, N: 1, Reason: `PodDisruptionBudget "web"`},
	}
	none1 := platform.Surroundings{Removable: platform.Bound{Set: true}}
	price := func(s *guardrail.Subject) {
		s.Rules.StabiliseDown, s.Rules.MaxHourlyPrice, s.Prices.InstanceHour = 0, 1.2, 0.2
	}
	check(t, map[string]vector{
		"quota": {
			subject: rules(none), situation: guardrail.Situation{Desired: 5, Around: around}, recommend: recommend(9),
			kind: guardrail.Apply, target: 7, hit: []string{guardrail.Quota},
		},
		"budget": {
			subject: rules(none), situation: guardrail.Situation{Desired: 5, Around: around}, recommend: recommend(2),
			kind: guardrail.Apply, target: 4, hit: []string{guardrail.Budget},
		},
		"budget that lets none go": {
			subject: rules(none), situation: guardrail.Situation{Desired: 5, Around: none1}, recommend: recommend(2),
			kind: guardrail.Refuse, target: 5, hit: []string{guardrail.Budget},
		},
		"budget goes before the limit": {
			subject: rules(none), situation: guardrail.Situation{Desired: 25, Around: around}, recommend: recommend(10),
			kind: guardrail.Apply, target: 24, hit: []string{guardrail.Budget},
		},
		"price": {
			subject: price, situation: guardrail.Situation{Desired: 5}, recommend: recommend(9), kind: guardrail.Apply, target: 6, hit: []string{guardrail.Price},
		},
		"price takes nothing away": {
			subject: price, situation: guardrail.Situation{Desired: 8}, recommend: recommend(9), kind: guardrail.Refuse, target: 8, hit: []string{guardrail.Price},
		},
	})
}

func TestCooldownBehaviorAndRollbackBound(t *testing.T) {
	t.Parallel()
	changed := guardrail.Situation{Desired: 8, Changes: []guardrail.Change{{Time: ago(20 * time.Second), Delta: 2}}}
	behavior := rules(func(g *workload.Guardrails) {
		g.ScaleUp = workload.Behavior{Policies: []workload.RatePolicy{
			{Type: "percent", Value: 50, Period: time.Minute}, {Type: "pods", Value: 3, Period: time.Minute},
		}}
		g.ScaleDown = workload.Behavior{Select: "disabled"}
	})
	held := guardrail.Situation{Desired: 8, RolledBack: guardrail.Floor{Instances: 7, Until: noon.Add(time.Second)}}
	over := held
	over.RolledBack.Until = noon
	check(t, map[string]vector{
		"cooldown of adding": {
			subject: rules(func(g *workload.Guardrails) { g.CooldownUp = 30 * time.Second }), situation: changed, recommend: recommend(9),
			kind: guardrail.Refuse, target: 8, hit: []string{guardrail.Cooldown},
		},
		"cooldown of removing": {
			subject: rules(func(g *workload.Guardrails) { g.CooldownDown = 30 * time.Second }), situation: changed, recommend: recommend(5),
			kind: guardrail.Refuse, target: 8, hit: []string{guardrail.Cooldown},
		},
		"after the cooldown": {
			subject: rules(func(g *workload.Guardrails) { g.CooldownDown = 20 * time.Second }), situation: changed, recommend: recommend(5), kind: guardrail.Apply, target: 5,
		},
		"behavior, six a minute ago": {
			subject: behavior, situation: changed, recommend: recommend(20), kind: guardrail.Apply, target: 9, hit: []string{guardrail.Behavior},
		},
		"behavior disabled": {
			subject: behavior, situation: changed, recommend: recommend(4), kind: guardrail.Refuse, target: 8, hit: []string{guardrail.Behavior},
		},
		"rollback holds": {
			subject: rules(none), situation: held, recommend: recommend(4), kind: guardrail.Apply, target: 7, hit: []string{guardrail.RolledBack},
		},
		"rollback held long enough": {subject: rules(none), situation: over, recommend: recommend(4), kind: guardrail.Apply, target: 4},
	})
}

func TestResize(t *testing.T) {
	t.Parallel()
	now := guardrail.Situation{Desired: 5, Size: platform.Size{CPUCores: 1, MemoryBytes: 1 << 30}}
	r := recommend(5)
	r.CPUCores, r.MemoryBytes = 0.25, 1<<30+1<<20
	resize := rules(func(g *workload.Guardrails) { g.Resize = true })
	subject := usual()
	resize(&subject)
	got := guardrail.Check(subject, now, r, noon)
	if want := (platform.Size{CPUCores: 0.5}); got.Kind != guardrail.Apply || got.Target != 5 || got.Size != want {
		t.Errorf("verdict %+v, want half the CPU and the memory left alone", got)
	}
	verifying := now
	verifying.Verifying = true
	hold := r
	hold.Hold = true
	vpa := now
	vpa.Around.Resizers = []string{`VerticalPodAutoscaler "web"`}
	more := r
	more.Instances = 6
	lately := now
	lately.Changes = []guardrail.Change{{Time: ago(time.Second)}}
	rolledBack := now
	rolledBack.RolledBack = guardrail.Floor{Until: noon.Add(time.Second)}
	larger := r
	larger.CPUCores = 4
	priced := func(s *guardrail.Subject) {
		resize(s)
		s.Prices.CPUCoreHour, s.Rules.MaxHourlyPrice = 0.1, 0.9
	}
	check(t, map[string]vector{
		"larger than can be paid":    {subject: priced, situation: now, recommend: larger, kind: guardrail.Refuse, target: 5, hit: []string{guardrail.Price}},
		"not asked for":              {subject: rules(none), situation: now, recommend: r, kind: guardrail.Keep, target: 5},
		"while verifying":            {subject: resize, situation: verifying, recommend: r, kind: guardrail.Wait, target: 5},
		"nothing less without data":  {subject: resize, situation: now, recommend: hold, kind: guardrail.Keep, target: 5},
		"a VPA does it":              {subject: resize, situation: vpa, recommend: r, kind: guardrail.Refuse, target: 5, hit: []string{guardrail.Resizer}},
		"so soon after a change":     {subject: resize, situation: lately, recommend: r, kind: guardrail.Refuse, target: 5, hit: []string{guardrail.Cooldown}},
		"so soon after a rollback":   {subject: resize, situation: rolledBack, recommend: r, kind: guardrail.Keep, target: 5},
		"the number changes, not it": {subject: resize, situation: now, recommend: more, kind: guardrail.Apply, target: 6},
	})
	more = recommend(6)
	more.CPUCores = 2
	if v := guardrail.Check(subject, now, more, noon); v.Size != (platform.Size{}) {
		t.Errorf("number and size are changed at once: %+v", v)
	}
}

// TestSurroundingsAreNeverBroken: whatever is asked for, no more is removed or added than they let.
func TestSurroundingsAreNeverBroken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		desired := rapid.IntRange(0, 40).Draw(t, "desired")
		now := guardrail.Situation{Desired: desired, Around: platform.Surroundings{
			Addable:   platform.Bound{Set: true, N: rapid.IntRange(0, 5).Draw(t, "addable")},
			Removable: platform.Bound{Set: true, N: rapid.IntRange(0, 5).Draw(t, "removable")},
		}}
		v := guardrail.Check(usual(), now, recommend(rapid.IntRange(1, 60).Draw(t, "wish")), noon)
		if v.Target > desired+now.Around.Addable.N || v.Target < desired-now.Around.Removable.N {
			t.Fatalf("from %d to %d within %+v", desired, v.Target, now.Around)
		}
	})
}
