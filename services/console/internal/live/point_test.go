package live

import (
	"testing"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestTrafficPointShowsConfidence(t *testing.T) {
	t.Parallel()
	p, err := trafficPoint(windowKey{Duration: 1}, &foreshadowv1.TrafficWindow{Confidence: metric.NewConfidence(4, 0.25, 0.5, 2, 60).Proto()}, 0.95)
	if err != nil || p.MixHalfWidth == nil || *p.MixHalfWidth != 0.25 || p.P95HalfWidth == nil || *p.P95HalfWidth != 0.5 {
		t.Errorf("%+v, %v", p, err)
	}
	// A window that says nothing is not one that is exact.
	if p, err = trafficPoint(windowKey{Duration: 1}, &foreshadowv1.TrafficWindow{}, 0.95); err != nil || p.MixHalfWidth != nil || p.P95HalfWidth != nil {
		t.Errorf("%+v, %v", p, err)
	}
	damaged := &foreshadowv1.TrafficWindow{Confidence: &foreshadowv1.SampleConfidence{Responses: 1, MixHalfWidthSum: 2}}
	if _, err = trafficPoint(windowKey{Duration: 1}, damaged, 0.95); err == nil {
		t.Error("a damaged figure was shown")
	}
}
