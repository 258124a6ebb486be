package shadowrunner

import (
	"context"
	"math/rand/v2"
	"net/http"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/compare"
)

const (
	// compareShare of the replayed requests are sent a second time, so that what differs between equal shadows is known.
	compareShare = 0.01
	// compareReport is how many comparisons pass between two looks at what differs.
	compareReport = 100
)

// compare looks at one answer in a hundred beside production's. Only what is safe to send twice is; the second goes to another
// instance where there is one.
func (l *lane) compare(ctx context.Context, r *captured.Request, first platform.Instance, out client.Outcome) {
	if r.Production.Status == 0 || out.Err != nil || r.Method != http.MethodGet || rand.Float64() >= compareShare {
		return
	}
	second := first
	for range 2 {
		if i, reason := l.fleet.Pick(); reason == "" && i.Version == first.Version && i.ID != first.ID {
			second = i
			break
		}
	}
	l.compared.See(1)
	again := l.client.Send(ctx, second.Address, r)
	if again.Err != nil {
		l.compared.Drop("failed", 1)
		return
	}
	l.compared.Pass(1)
	answer := func(o client.Outcome) compare.Answer {
		return compare.Answer{Status: o.Status, Bytes: o.Bytes, Kind: o.Kind, Body: o.Head}
	}
	production := compare.Answer{Status: r.Production.Status, Bytes: r.Production.Bytes}
	l.differ.Add(r.Stratum.Route, production, answer(out), answer(again))
	if l.differ.Compared()%compareReport == 0 {
		l.reportDifferences()
	}
}

func (l *lane) reportDifferences() {
	worst := map[string]float64{"status": 0, "size": 0}
	for _, d := range l.differ.Differences() {
		if d.Field == "status" || d.Field == "size" {
			worst[d.Field] = max(worst[d.Field], d.Raw-d.Noise)
			l.log.Info("shadow answers otherwise than production", "route", d.Route, "field", d.Field, "share", d.Raw, "noise", d.Noise, "compared", d.Compared)
		}
	}
	for field, share := range worst {
		l.metrics.difference.WithLabelValues(l.workload.Name, field).Set(share)
	}
}
