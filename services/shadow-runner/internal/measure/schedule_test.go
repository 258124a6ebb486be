package measure_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

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
		"good after bad": {history{bad, good}, at(1), "v1", ""},
	}
	for name, tc := range tests {
		var r measure.Record
		for _, m := range tc.add {
			r.Add(m)
		}
		if got := r.Due(tc.now, tc.version); got != tc.want {
			t.Errorf("%s: due %q, want %q", name, got, tc.want)
		}
	}
}
