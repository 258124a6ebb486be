package metric_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestConfidenceMergesByTraffic(t *testing.T) {
	t.Parallel()
	quiet, busy := metric.NewConfidence(1, 0.5, math.NaN(), 2, 60), metric.NewConfidence(3, 0.25, 0.5, 4, 30)
	a, b := quiet, busy
	a.Merge(busy)
	b.Merge(quiet)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the order counts:\n%s", diff)
	}
	if a.Mix() != 1.25/4 || a.P95() != 0.5 || a.DesignEffect() != 14.0/4 || a.Span != 60 || a.Timed != 3 {
		t.Errorf("merged %+v: mix %v, p95 %v, design effect %v", a, a.Mix(), a.P95(), a.DesignEffect())
	}
	back, err := metric.ConfidenceFromProto(a.Proto())
	if diff := cmp.Diff(a, back); diff != "" || err != nil {
		t.Errorf("wire form: %v\n%s", err, diff)
	}
}

func TestUnknownConfidence(t *testing.T) {
	t.Parallel()
	var none metric.Confidence
	if none.Proto() != nil || !math.IsNaN(none.Mix()) || !math.IsNaN(none.P95()) || !math.IsNaN(none.DesignEffect()) {
		t.Errorf("what is not known is shown as %v", none.Proto())
	}
	if c, err := metric.ConfidenceFromProto(nil); err != nil || c != none {
		t.Errorf("%+v, %v", c, err)
	}
	if c := metric.NewConfidence(0, 0.1, 0.1, 1, 60); c.Proto() != nil {
		t.Errorf("a figure for no responses: %v", c.Proto())
	}
}

func TestDamagedConfidenceIsRefused(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*foreshadowv1.SampleConfidence{
		"NaN": {Responses: 1, MixHalfWidthSum: math.NaN()}, "infinite": {Responses: 1, P95HalfWidthSum: math.Inf(1)},
		"negative": {Responses: 1, DesignEffectSum: -1}, "span": {Responses: 1, SpanSeconds: math.Inf(1)},
		"more timed than there are": {Responses: 1, TimedResponses: 2}, "wider than all": {Responses: 1, MixHalfWidthSum: 1.5},
	} {
		if c, err := metric.ConfidenceFromProto(p); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}
