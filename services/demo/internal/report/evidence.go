// Package report is the account at the end of the demo: the invariants, checked against what was really sent; what
// Foreshadow did; and what the Kubernetes HPA would have done on the same demand.
package report

import (
	"fmt"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/demo/internal/load"
	"github.com/foreshadow/foreshadow/services/stack/audit"
)

// Evidence is everything that was observed from outside, after every hop had come to rest.
type Evidence struct {
	// Begin is the first second; Users what they saw in each second from then on.
	Begin time.Time
	Users []load.Second
	// Failures counts failed requests by reason.
	Failures map[string]int
	// Policy that ran live.
	Policy string
	// Startup, Minimum, Maximum and Initial are the fleet's settings.
	Startup                   time.Duration
	Minimum, Maximum, Initial int
	// Ledgers of all hops, by service.
	Ledgers map[string][]metric.Ledger
	// Sent is the traffic by environment and window as the producers' own events say, copies left out; Stored is what the
	// HistoryService says.
	Sent, Stored audit.Windows
	// Usage of production since Begin, oldest first.
	Usage []*foreshadowv1.MetricsWindowed
	// Recommendations and Actions since Begin, oldest first.
	Recommendations []*foreshadowv1.Recommendation
	Actions         []*foreshadowv1.ScalingApplied
	// Capacity is the newest valid measurement; nil when there was none.
	Capacity *foreshadowv1.CapacityMeasured
}

// Invariant is something that must always hold.
type Invariant struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// due is how many requests users sent.
func (e Evidence) due() (n int) {
	for _, s := range e.Users {
		n += s.Due
	}
	return n
}

func (e Evidence) ledger(hop string) metric.Ledger {
	for _, list := range e.Ledgers {
		for _, l := range list {
			if l.Hop == hop {
				return l
			}
		}
	}
	return metric.Ledger{Hop: hop}
}

// invariants checks what must hold whatever the policy.
func (e Evidence) invariants() []Invariant {
	out := []Invariant{e.served(), e.balanced()}
	out = append(out, e.hops()...)
	return append(out, e.windows(), e.bounds(), e.explained())
}

func (e Evidence) served() Invariant {
	failed := 0
	for _, n := range e.Failures {
		failed += n
	}
	detail := fmt.Sprintf("%d requests, %d failed", e.due(), failed)
	for reason, n := range e.Failures {
		detail += fmt.Sprintf("; %d x %s", n, reason)
	}
	return Invariant{Name: "every production request was served", OK: failed == 0 && e.due() > 0, Detail: detail}
}

func (e Evidence) balanced() Invariant {
	inv := Invariant{Name: "every ledger balances, nothing is pending", OK: true}
	n := 0
	for service, list := range e.Ledgers {
		for _, l := range list {
			n++
			if !l.Balanced() || l.Pending != 0 {
				inv.OK = false
				inv.Detail += fmt.Sprintf("%s %s: %+v; ", service, l.Hop, l)
			}
		}
	}
	if inv.OK {
		inv.Detail = fmt.Sprintf("%d ledgers", n)
	}
	inv.OK = inv.OK && n > 0
	return inv
}

// hops checks that what one hop passed on is what the next has seen.
func (e Evidence) hops() []Invariant {
	tap, replay := e.ledger("replicator/tap"), e.ledger("shadow-runner/replay")
	production := foreshadowv1.Environment_ENVIRONMENT_PRODUCTION
	sent, stored := e.Sent.Requests(production, e.Begin), e.Stored.Requests(production, e.Begin)
	equal := func(name string, a, b uint64) Invariant {
		return Invariant{Name: name, OK: a == b, Detail: fmt.Sprintf("%d and %d", a, b)}
	}
	return []Invariant{
		equal("users sent = the tap saw", uint64(e.due()), tap.Seen),
		equal("the tap published = the runner received", tap.Passed, replay.Seen),
		equal("users sent = requests in the observations", uint64(e.due()), sent),
		equal("users sent = requests in the windows", uint64(e.due()), stored),
	}
}

// windows compares every window with the independent sum of the events it was made of.
func (e Evidence) windows() Invariant {
	wrong := audit.Differences(e.Sent, e.Stored)
	detail := fmt.Sprintf("%d windows, %d differ", len(e.Sent), len(wrong))
	if len(wrong) > 0 {
		detail += "; the first: " + wrong[0]
	}
	return Invariant{Name: "every window equals what its producers sent", OK: len(wrong) == 0 && len(e.Sent) > 0, Detail: detail}
}

func (e Evidence) bounds() Invariant {
	inv := Invariant{Name: "the number of instances stayed within its limits", OK: true}
	for _, u := range e.Usage {
		if n := int(u.GetUsage().GetDesiredInstances()); n < e.Minimum || n > e.Maximum {
			inv.OK = false
			inv.Detail = fmt.Sprintf("%d instances at %s", n, u.GetStartTime().AsTime())
		}
	}
	if inv.OK {
		inv.Detail = fmt.Sprintf("%d to %d in %d windows", e.Minimum, e.Maximum, len(e.Usage))
	}
	inv.OK = inv.OK && len(e.Usage) > 0
	return inv
}

func (e Evidence) explained() Invariant {
	inv := Invariant{Name: "every recommendation has a newer generation, an expiry and a reason", OK: len(e.Recommendations) > 0}
	var last uint64
	for _, r := range e.Recommendations {
		if r.GetGeneration() <= last || len(r.GetReasons()) == 0 || !r.GetExpireTime().AsTime().After(r.GetCreateTime().AsTime()) {
			inv.OK = false
			inv.Detail = fmt.Sprintf("%s does not; ", r.GetRecommendationId())
		}
		last = r.GetGeneration()
	}
	inv.Detail += fmt.Sprintf("%d recommendations", len(e.Recommendations))
	return inv
}
