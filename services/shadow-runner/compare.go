package shadowrunner

import (
	"context"
	"mime"
	"net/http"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/compare"
)

const (
	// compareReport is how many comparisons pass between two looks at what differs.
	compareReport = 100
	// reported differences of a look, and shown on the page, at most.
	reported, shown = 10, 100
)

// choose decides whether the answers to a request are compared, before it is handed on. Only what is safe to send twice is.
// What production answered to the others would only take memory.
func (l *lane) choose(r *captured.Request) {
	r.Compare = r.Method == http.MethodGet && r.Production.Status != 0 && l.turns.Next(r.Production.Shape != nil)
	if !r.Compare {
		r.Production.Shape = nil
	}
}

// compare looks at an answer beside production's. The request is sent again, to another instance where there is one.
func (l *lane) compare(ctx context.Context, r *captured.Request, first platform.Instance, out client.Outcome) {
	if !r.Compare || out.Err != nil {
		return
	}
	second := first
	for range 2 {
		i, done, reason := l.fleet.Pick()
		if reason != "" {
			break
		}
		if i.Version == first.Version && i.ID != first.ID {
			defer done()
			second = i
			break
		}
		done()
	}
	l.compared.See(1)
	again := l.client.Send(ctx, second.Address, r)
	if again.Err != nil {
		l.compared.Drop("failed", 1)
		return
	}
	l.compared.Pass(1)
	p := r.Production
	outcome := l.differ.Add(compare.Exchange{
		Route: r.Stratum.Route, Session: r.Session,
		Production: compare.Answer{Status: p.Status, Bytes: p.Bytes, Media: p.Media, Shape: p.Shape},
		First:      answerOf(out), Second: answerOf(again),
	})
	l.metrics.shapes.WithLabelValues(l.workload.Name, string(outcome)).Inc()
	if l.comparisons.Add(1)%compareReport == 0 {
		l.reportDifferences()
	}
}

// answerOf is what is known of the shadow's answer.
func answerOf(o client.Outcome) compare.Answer {
	a := compare.Answer{Status: o.Status, Bytes: o.Bytes}
	a.Media, _, _ = mime.ParseMediaType(o.Kind) // none is empty
	if bodyshape.IsJSON(o.Kind) && uint64(len(o.Head)) == o.Bytes {
		a.Shape, _ = bodyshape.Read(o.Encoding, o.Head) // what cannot be read has no shape that is known
	}
	return a
}

// differences are those of each workload, as its admin page shows them.
func (s *Service) differences() any {
	type page struct {
		Workload    string               `json:"workload"`
		Compared    int                  `json:"compared"`
		Differences []compare.Difference `json:"differences"`
	}
	pages := []page{}
	for _, w := range s.deps.Workloads {
		d := s.lanes[w.Name].differ
		worst := d.Differences()
		pages = append(pages, page{w.Name, d.Compared(), worst[:min(len(worst), shown)]})
	}
	return pages
}

func (l *lane) reportDifferences() {
	worst := map[compare.Kind]float64{}
	for i, d := range l.differ.Differences() {
		worst[d.Kind] = max(worst[d.Kind], d.Raw-d.Noise)
		if i < reported {
			l.log.Info("shadow answers otherwise than production", "route", d.Route, "kind", d.Kind, "field", d.Path, "how", d.How,
				"share", d.Raw, "noise", d.Noise, "compared", d.Compared)
		}
	}
	for _, kind := range compare.Kinds() {
		l.metrics.difference.WithLabelValues(l.workload.Name, string(kind)).Set(worst[kind])
	}
}
