package measure_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/platform"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/measure"
)

type history []*foreshadowv1.CapacityMeasured

// measured ended at 1,000 s and holds for 100 s.
func measured(valid bool, rate float64) *foreshadowv1.CapacityMeasured {
	return &foreshadowv1.CapacityMeasured{
		Workload: "shop", Version: "v1", Valid: valid, RequestsPerSecond: rate,
		MeasureTime: timestamppb.New(time.Unix(1000, 0)), ExpireTime: timestamppb.New(time.Unix(1100, 0)),
	}
}

func TestRecordSaysWhenToMeasure(t *testing.T) {
	t.Parallel()
	good, bad := measured(true, 65), measured(false, 0)
	at := func(seconds int64) time.Time { return time.Unix(1000+seconds, 0) }
	tests := map[string]struct {
		add     history
		now     time.Time
		version string
		want    string
	}{
		"nothing known":      {nil, at(0), "v1", "not known"},
		"fresh":              {history{good}, at(79), "v1", ""},
		"before it expires":  {history{good}, at(80), "v1", "old"},
		"another version":    {history{good}, at(1), "v2", "new version"},
		"failed just now":    {history{bad}, at(9), "v1", ""},
		"failed a while ago": {history{bad}, at(10), "v1", "not known"},
		"failed twice":       {history{bad, bad}, at(19), "v1", ""},
		"failed many times":  {slices.Repeat(history{bad}, 50), at(300), "v1", "not known"},
		"renewal that failed keeps what was known": {history{good, bad}, at(20), "v1", ""},
		"good after bad":                 {history{bad, good}, at(1), "v1", ""},
		"a clock was ahead":              {history{good}, at(-1), "v1", "old"},
		"failed while a clock was ahead": {history{bad}, at(-1000), "v1", "not known"},
	}
	for name, tc := range tests {
		var r measure.Record
		for _, m := range tc.add {
			r.Add(m)
		}
		if got := r.Due(tc.now, platform.Instance{Version: tc.version}, nil, 0); got != tc.want {
			t.Errorf("%s: due %q, want %q", name, got, tc.want)
		}
	}
}

func TestACapacityIsThatOfASize(t *testing.T) {
	t.Parallel()
	of := func(cores float64, memory int64) platform.Instance {
		return platform.Instance{Version: "v1", Size: platform.Size{CPUCores: cores, MemoryBytes: memory}}
	}
	for name, tc := range map[string]struct {
		cores  float64
		memory uint64
		now    platform.Instance
		want   string
	}{
		"as it was":                  {0.5, 1 << 30, of(0.5, 1<<30), ""},
		"more CPU":                   {0.5, 1 << 30, of(1, 1<<30), measure.NewSize},
		"less memory":                {0.5, 1 << 30, of(0.5, 1<<29), measure.NewSize},
		"was not known":              {0, 0, of(0.5, 1<<30), ""},
		"is not known":               {0.5, 1 << 30, of(0, 0), ""},
		"a rounding of the platform": {0.5004, 1 << 30, of(0.5, 1<<30), ""},
	} {
		m := measured(true, 65)
		m.GivenCpuCores, m.GivenMemoryBytes = tc.cores, tc.memory
		var r measure.Record
		r.Add(m)
		if got := r.Due(time.Unix(1001, 0), tc.now, nil, 0); got != tc.want {
			t.Errorf("%s: due %q, want %q", name, got, tc.want)
		}
	}
}

// steps are so many as the runner publishes them.
func steps(n int) []*foreshadowv1.CapacityStep {
	out := make([]*foreshadowv1.CapacityStep, n)
	for i := range out {
		out[i] = &foreshadowv1.CapacityStep{OfferedPerSecond: 40 + float64(i), CompletedPerSecond: 40, Requests: 10, Valid: i != 1, SloMet: true}
	}
	return out
}

func TestWhatIsNotPreciseIsGoneOnWith(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time {
		return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	var r measure.Record
	first := measured(true, 65)
	first.Steps = steps(7)
	r.Add(first)
	if why := r.Due(at(3), platform.Instance{Version: "v1"}, nil, 0); why != "" {
		t.Errorf("due %q before the instance has been left alone for twice as long as it was measured", why)
	}
	why := r.Due(at(4), platform.Instance{Version: "v1"}, nil, 0)
	if before := r.Before(why); why != measure.NotPrecise || len(before) != 6 || before[1].Offered != 42 || before[0].Requests != 10 {
		t.Errorf("due %q from %+v, want the six valid steps", why, before)
	}
	if before := r.Before(measure.NewVersion); before != nil {
		t.Errorf("another version goes on from %+v", before)
	}
	second := measured(true, 66)
	second.Steps, second.Precise = steps(14), true
	second.MeasureTime, second.ExpireTime = timestamppb.New(at(60)), timestamppb.New(at(160))
	r.Add(second)
	if why := r.Due(at(79), platform.Instance{Version: "v1"}, nil, 0); why != "" {
		t.Errorf("due %q though precise", why)
	}
	if why := r.Due(at(80), platform.Instance{Version: "v1"}, nil, 0); why != measure.Old {
		t.Errorf("due %q: going on made the oldest steps young", why)
	}
}

func TestADriftOfTheMixIsMeasuredAgain(t *testing.T) {
	t.Parallel()
	mix := func(dear float64) []*foreshadowv1.StratumShare {
		return []*foreshadowv1.StratumShare{
			{Stratum: &foreshadowv1.Stratum{Route: "GET /dear"}, Share: dear}, {Stratum: &foreshadowv1.Stratum{Route: "GET /cheap"}, Share: 1 - dear},
		}
	}
	m := measured(true, 65)
	m.Mix, m.Precise = mix(0.3), true
	tests := map[string]struct {
		mix      []*foreshadowv1.StratumShare
		requests float64
		want     string
	}{
		"the same":             {mix(0.3), 5000, ""},
		"a little":             {mix(0.45), 5000, ""},
		"a lot":                {mix(0.6), 5000, measure.MixMoved},
		"a lot, of few":        {mix(0.6), 10, ""},
		"nothing known of now": {nil, 0, ""},
		"all of another route": {[]*foreshadowv1.StratumShare{{Stratum: &foreshadowv1.Stratum{Route: "GET /new"}, Share: 1}}, 5000, measure.MixMoved},
	}
	for name, tc := range tests {
		var r measure.Record
		r.Add(m)
		if got := r.Due(time.Unix(1001, 0), platform.Instance{Version: "v1"}, tc.mix, tc.requests); got != tc.want {
			t.Errorf("%s: due %q, want %q", name, got, tc.want)
		}
	}
}
