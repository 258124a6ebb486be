package provisioner

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/rollout"
)

// Plan is what would be done about a recommendation now. It is made from what can be seen: what a running provisioner
// remembers besides (rates, cooldowns, what was wanted lately) may bound a change further.
type Plan struct {
	// Workload and RecommendationID that it is about.
	Workload, RecommendationID string
	// From and To are the numbers of instances.
	From, To int
	// Size that each instance is to have; zero = as it is.
	Size platform.Size
	// Verdict is apply, keep, refuse, wait, plan (a dry run) or propose (a person must approve).
	Verdict string
	// Guardrails that changed or refused the recommendation, and what they did.
	Guardrails []string
	Reason     string
	// PriceBefore and PriceAfter are of all instances per hour; 0 when no prices are declared.
	PriceBefore, PriceAfter float64
	// Steps in the order in which they are made; none when nothing is changed.
	Steps []string
}

// MakePlan reads the platform and decides as a provisioner would. status may be nil when no provisioner can be asked.
func MakePlan(ctx context.Context, w workload.Workload, r *foreshadowv1.Recommendation, status *foreshadowv1.ProvisioningStatus, p Platform, now time.Time) (Plan, error) {
	st, err := p.State(ctx, w.Production.Group)
	if err != nil {
		return Plan{}, fmt.Errorf("read production of %q: %w", w.Name, err)
	}
	s := guardrail.Situation{
		Desired: st.Desired, Generation: max(st.Generation, status.GetObservedGeneration()), Paused: status.GetPaused(), Size: st.Size,
		Verifying: st.Ready() != st.Desired,
	}
	if surveyor, can := p.(rollout.Surveyor); can {
		if s.Around, err = surveyor.Surroundings(ctx, w.Production.Group); err != nil {
			return Plan{}, err
		}
	}
	if st.Foreign {
		s.ManualTime = now // how long it has been is known by a running provisioner only
	}
	subject, size := rollout.Judged(w, r)
	v := guardrail.Check(subject, s, size, now)
	plan := Plan{
		Workload: w.Name, RecommendationID: r.GetRecommendationId(), From: st.Desired, To: v.Target, Size: v.Size, Verdict: v.Kind.String(),
		Guardrails: v.Guardrails, Reason: v.Reason,
		PriceBefore: float64(st.Desired) * subject.HourlyPrice(st.Size), PriceAfter: float64(v.Target) * subject.HourlyPrice(st.Size.With(v.Size)),
	}
	if v.Kind == guardrail.Apply || v.Kind == guardrail.Plan || v.Kind == guardrail.Propose {
		plan.Steps = steps(w, st, v)
	}
	return plan, nil
}

// steps says in words how a change is carried out.
func steps(w workload.Workload, st platform.State, v guardrail.Verdict) []string {
	g := w.Guardrails
	var out []string
	if v.Kind == guardrail.Propose {
		out = append(out, "wait until a person approves it")
	}
	switch {
	case v.Size != (platform.Size{}):
		out = append(out, fmt.Sprintf("give one instance %s, and wait until it serves", describeSize(v.Size)),
			fmt.Sprintf("give the other %d the same, and those that are started from then on", max(0, st.Desired-1)))
	case v.Target > st.Desired:
		out = append(out, fmt.Sprintf("ask for %d instances, %d more", v.Target, v.Target-st.Desired))
	default:
		out = append(out, fmt.Sprintf("ask for %d instances, %d fewer: those that do not serve yet go first, then the youngest; each finishes its requests", v.Target, st.Desired-v.Target))
	}
	out = append(out, fmt.Sprintf("call it done when all %d serve, failed after %s", v.Target, g.VerifyTimeout))
	if g.Rollback.Within > 0 && v.Target <= st.Desired {
		out = append(out, fmt.Sprintf("watch users for %s, and go back when the SLO breaks", g.Rollback.Within))
	}
	return out
}

func describeSize(s platform.Size) string {
	var parts []string
	if s.CPUCores > 0 {
		parts = append(parts, fmt.Sprintf("%.3g CPU cores", s.CPUCores))
	}
	if s.MemoryBytes > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB", s.MemoryBytes>>20))
	}
	return strings.Join(parts, " and ")
}

// Write prints the plan for a person.
func (p Plan) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %d -> %d instances (recommendation %s)\n", p.Workload, p.Verdict, p.From, p.To, p.RecommendationID)
	if p.Reason != "" {
		fmt.Fprintf(&b, "  because %s [%s]\n", p.Reason, strings.Join(p.Guardrails, ", "))
	}
	if p.PriceBefore != p.PriceAfter {
		fmt.Fprintf(&b, "  price per hour %.4g -> %.4g\n", p.PriceBefore, p.PriceAfter)
	}
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, s)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
