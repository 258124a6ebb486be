package metric

import (
	"fmt"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Counters is what one stratum did in one stretch of time. Counters merge by addition.
type Counters struct {
	// Requests that arrived.
	Requests uint64
	// Responses: requests that were answered or given up.
	Responses uint64
	// Errors among the responses: status 5xx, no instance, transport error.
	Errors uint64
	// SLOViolations among the responses: failed, or slower than the SLO latency.
	SLOViolations uint64
	// RequestBytes and ResponseBytes are what clients sent and got.
	RequestBytes  uint64
	ResponseBytes uint64
	// Sampled is the number of copies taken for the shadow.
	Sampled uint64
	// Latency of the responses.
	Latency Sketch
}

// Merge adds o.
func (c *Counters) Merge(o *Counters) {
	c.Requests += o.Requests
	c.Responses += o.Responses
	c.Errors += o.Errors
	c.SLOViolations += o.SLOViolations
	c.RequestBytes += o.RequestBytes
	c.ResponseBytes += o.ResponseBytes
	c.Sampled += o.Sampled
	c.Latency.Merge(&o.Latency)
}

// Strata is the counters of each stratum.
type Strata map[traffic.Stratum]*Counters

// At returns the counters of a stratum, made on first use.
func (s Strata) At(st traffic.Stratum) *Counters {
	c := s[st]
	if c == nil {
		c = &Counters{}
		s[st] = c
	}
	return c
}

// Merge adds all of o.
func (s Strata) Merge(o Strata) {
	for st, c := range o {
		s.At(st).Merge(c)
	}
}

// Total is the sum over all strata.
func (s Strata) Total() *Counters {
	total := &Counters{}
	for _, c := range s {
		total.Merge(c)
	}
	return total
}

// Proto returns the wire form, ordered by stratum.
func (s Strata) Proto() []*foreshadowv1.Traffic {
	out := make([]*foreshadowv1.Traffic, 0, len(s))
	for st, c := range s {
		p := c.Proto()
		p.Stratum = StratumProto(st)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *foreshadowv1.Traffic) int {
		return StratumFromProto(a.Stratum).Compare(StratumFromProto(b.Stratum))
	})
	return out
}

// Proto returns the wire form of the counters, without a stratum.
func (c *Counters) Proto() *foreshadowv1.Traffic {
	return &foreshadowv1.Traffic{
		Requests: c.Requests, Responses: c.Responses, Errors: c.Errors, SloViolations: c.SLOViolations,
		RequestBytes: c.RequestBytes, ResponseBytes: c.ResponseBytes, Sampled: c.Sampled, Latency: c.Latency.Proto(),
	}
}

// StrataFromProto reads the wire form; a stratum that comes twice is merged.
func StrataFromProto(list []*foreshadowv1.Traffic) (Strata, error) {
	out := Strata{}
	for _, p := range list {
		c, err := CountersFromProto(p)
		if err != nil {
			return nil, fmt.Errorf("stratum %q: %w", p.GetStratum().GetRoute(), err)
		}
		out.At(StratumFromProto(p.GetStratum())).Merge(c)
	}
	return out, nil
}

// CountersFromProto reads the wire form of one stratum's counters.
func CountersFromProto(p *foreshadowv1.Traffic) (*Counters, error) {
	sketch, err := SketchFromProto(p.GetLatency())
	if err != nil {
		return nil, err
	}
	return &Counters{
		Requests: p.GetRequests(), Responses: p.GetResponses(), Errors: p.GetErrors(), SLOViolations: p.GetSloViolations(),
		RequestBytes: p.GetRequestBytes(), ResponseBytes: p.GetResponseBytes(), Sampled: p.GetSampled(), Latency: sketch,
	}, nil
}

// StratumProto returns the wire form of a stratum.
func StratumProto(s traffic.Stratum) *foreshadowv1.Stratum {
	return &foreshadowv1.Stratum{Route: s.Route, Geography: s.Geography, Device: s.Device, Network: s.Network}
}

// StratumFromProto reads the wire form of a stratum; nil is the empty stratum.
func StratumFromProto(p *foreshadowv1.Stratum) traffic.Stratum {
	return traffic.Stratum{
		Route: p.GetRoute(), Geography: p.GetGeography(), Device: p.GetDevice(), Network: p.GetNetwork(),
	}
}

// WindowStart is the start of the window of the given width that t falls into, counted from the Unix epoch in UTC.
func WindowStart(t time.Time, width time.Duration) time.Time {
	ns := t.UnixNano()
	start := ns - ns%int64(width)
	if start > ns {
		start -= int64(width)
	}
	return time.Unix(0, start).UTC()
}
