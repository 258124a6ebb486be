package backtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/policy"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// contender is one policy with one setting of its target.
type contender struct {
	curve   string
	setting string
	policy  func() simulate.Policy // a fresh one: policies remember
	keep    bool                   // its instances are drawn
}

// Names of the curves.
const (
	Foreshadow = "Foreshadow"
	NoBudget   = "Foreshadow without budget"
	HPA        = "Kubernetes HPA"
	Oracle     = "Clairvoyant"
)

// contenders are all policies with all settings, the same for every series.
func (o Options) contenders(w world, f *outlook) []contender {
	var out []contender
	add := func(curve, setting string, keep bool, p func() simulate.Policy) {
		if keep || o.wants(curve) {
			out = append(out, contender{curve, setting, p, keep})
		}
	}
	for _, budget := range []float64{0.85, 0.9, 0.94, 0.97, 1, 1.03, 1.08, 1.2, 1.5} {
		d := o.Decision
		d.Budget = budget
		add(Foreshadow, fmt.Sprintf("budget %.2f of the HPA's", budget), budget == 1, func() simulate.Policy { return policy.NewForeshadow(d, f) })
	}
	for _, risk := range []float64{0.2, 0.05, 0.01} {
		d := o.Decision
		d.Budget, d.Risk = 0, risk
		add(NoBudget, fmt.Sprintf("risk %.2f", risk), false, func() simulate.Policy { return policy.NewForeshadow(d, f) })
	}
	for _, target := range hpaTargets(o.HPA) {
		add(HPA, fmt.Sprintf("target %d %%", target), target == o.HPA, func() simulate.Policy { return policy.NewHPA(hpaAt(target)) })
	}
	for _, share := range []float64{0.6, 0.7, 0.75, 0.8, 0.9, 1} {
		add("Request rate", fmt.Sprintf("target %.0f %%", 100*share*o.MaxUtilization), false, func() simulate.Policy {
			return policy.NewRate(share*o.MaxUtilization, policy.DefaultHPA().Behavior)
		})
	}
	for _, spare := range []float64{0, 0.02, 0.05} {
		add(Oracle, fmt.Sprintf("reserve %.0f %%", 100*spare), false, func() simulate.Policy { return policy.NewOracle(w.demand, spare) })
	}
	o.scheduled(add)
	peak := peakInstances(w)
	for _, share := range []float64{0.8, 1, 1.1} {
		n := int(share * float64(peak))
		add("Static", fmt.Sprintf("%d instances", n), false, func() simulate.Policy { return policy.NewStatic(n) })
	}
	return out
}

func (o Options) wants(curve string) bool {
	return len(o.Policies) == 0 || curve == Foreshadow || slices.Contains(o.Policies, curve)
}

// scheduled are the policies that lay a prediction of their own under an HPA, or look at a long window.
func (o Options) scheduled(add func(string, string, bool, func() simulate.Policy)) {
	for _, target := range []int{60, 70, 80} {
		c := hpaAt(target)
		for _, share := range []float64{0.8, 1} {
			aim := share * o.MaxUtilization
			setting := fmt.Sprintf("HPA %d %%, prediction at %.0f %%", target, 100*aim)
			add("HPA + cron", setting, false, func() simulate.Policy { return policy.NewCron(c, 1/share) })
			add("AWS predictive", setting, false, func() simulate.Policy { return policy.NewHourly(c, aim) })
			add("Crane replay", setting, false, func() simulate.Policy { return policy.NewReplay(c, aim, 0.15) })
		}
		for _, s := range []policy.Smoothing{{Level: 0.9, Trend: 0.1, Season: 0.9}, {Level: 0.3, Trend: 0.01, Season: 0.3}} {
			add("PHPA Holt-Winters", fmt.Sprintf("target %d %%, level %.1f", target, s.Level), false, func() simulate.Policy { return policy.NewHoltWinters(c, s) })
		}
	}
	for _, share := range []float64{0.7, 0.85, 1} {
		for _, window := range []time.Duration{time.Hour, 12 * time.Hour} {
			add("Autopilot window", fmt.Sprintf("target %.0f %%, window %s", 100*share*o.MaxUtilization, window), false, func() simulate.Policy {
				return policy.NewWindow(share*o.MaxUtilization, window)
			})
		}
	}
}

func hpaTargets(reference int) []int {
	out := []int{reference}
	for _, t := range []int{50, 60, 65, 70, 75, 80} {
		if t != reference {
			out = append(out, t)
		}
	}
	return out
}

func hpaAt(target int) policy.HPAConfig {
	c := policy.DefaultHPA()
	c.TargetPercent = target
	return c
}

// peakInstances is what the highest demand of the warm-up needs: what someone who sizes for the known peak would take.
func peakInstances(w world) int {
	peak := 1
	for _, v := range w.demand[:int(w.config.Warmup/w.config.Tick)] {
		peak = max(peak, w.config.Need(v/w.config.Tick.Seconds()))
	}
	return peak
}
