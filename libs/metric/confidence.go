package metric

import (
	"fmt"
	"math"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Confidence is how well the copies show production, at 95 % confidence: half-widths, summed over responses so that they
// merge by addition. The zero value says that nothing is known.
type Confidence struct {
	// Responses that the half-width of the mix stands for; Timed those that the one of p95 does.
	Responses, Timed uint64
	// MixSum, P95Sum and DesignSum are half-widths and design effect, each times its responses.
	MixSum, P95Sum, DesignSum float64
	// Span in seconds of the traffic looked at.
	Span float64
}

// NewConfidence makes a figure stand for a number of responses. A p95 half-width that is not a number is not known.
func NewConfidence(responses uint64, mix, p95, designEffect, span float64) Confidence {
	n := float64(responses)
	c := Confidence{Responses: responses, MixSum: n * mix, DesignSum: n * designEffect, Span: span}
	if !math.IsNaN(p95) && !math.IsInf(p95, 0) {
		c.Timed, c.P95Sum = responses, n*p95
	}
	return c
}

// Merge adds o.
func (c *Confidence) Merge(o Confidence) {
	c.Responses += o.Responses
	c.Timed += o.Timed
	c.MixSum += o.MixSum
	c.P95Sum += o.P95Sum
	c.DesignSum += o.DesignSum
	c.Span = max(c.Span, o.Span)
}

// Mix is the half-width of the interval of the mix, in [0, 1]; NaN when not known.
func (c Confidence) Mix() float64 { return c.MixSum / float64(c.Responses) }

// P95 is the half-width of the interval of p95 as a share of p95; NaN when not known.
func (c Confidence) P95() float64 { return c.P95Sum / float64(c.Timed) }

// DesignEffect is how many times larger variances are than with requests drawn one by one; NaN when not known.
func (c Confidence) DesignEffect() float64 { return c.DesignSum / float64(c.Responses) }

// Proto returns the wire form; nil when nothing is known.
func (c Confidence) Proto() *foreshadowv1.SampleConfidence {
	if c.Responses == 0 {
		return nil
	}
	return &foreshadowv1.SampleConfidence{
		Responses: c.Responses, MixHalfWidthSum: c.MixSum, TimedResponses: c.Timed, P95HalfWidthSum: c.P95Sum,
		DesignEffectSum: c.DesignSum, SpanSeconds: c.Span,
	}
}

// ConfidenceFromProto reads the wire form; nil is that nothing is known. A damaged figure is an error.
func ConfidenceFromProto(p *foreshadowv1.SampleConfidence) (Confidence, error) {
	c := Confidence{
		Responses: p.GetResponses(), Timed: p.GetTimedResponses(), MixSum: p.GetMixHalfWidthSum(), P95Sum: p.GetP95HalfWidthSum(),
		DesignSum: p.GetDesignEffectSum(), Span: p.GetSpanSeconds(),
	}
	for name, v := range map[string]float64{
		"mix_half_width_sum": c.MixSum, "p95_half_width_sum": c.P95Sum, "design_effect_sum": c.DesignSum, "span_seconds": c.Span,
	} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return Confidence{}, fmt.Errorf("confidence: %s: %v is not a finite, non-negative number", name, v)
		}
	}
	if c.Timed > c.Responses || c.MixSum > float64(c.Responses) {
		return Confidence{}, fmt.Errorf("confidence: half-widths of %v and %d timed of %d responses cannot be", c.MixSum, c.Timed, c.Responses)
	}
	return c, nil
}
