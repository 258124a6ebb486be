package live

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSeriesKeepsTheHighestRevisionOfTheNewestStretch(t *testing.T) {
	t.Parallel()
	s := series[UsagePoint]{retention: 10}
	steps := []struct {
		start    float64
		revision uint64
		ready    int32
		news     bool
	}{
		{100, 2, 3, true}, {100, 1, 9, false}, {100, 2, 9, false}, {100, 3, 4, true},
		{98, 1, 2, true}, {85, 1, 1, false}, {109, 1, 5, true},
	}
	for _, st := range steps {
		p := UsagePoint{windowKey: windowKey{Environment: "production", Start: st.start, Duration: 1, Revision: st.revision}, Ready: st.ready}
		if got := s.put(p); got != st.news {
			t.Errorf("put %+v: news = %v, want %v", st, got, st.news)
		}
	}
	var got []int32
	for _, p := range s.points {
		got = append(got, p.Ready)
	}
	if diff := cmp.Diff([]int32{4, 5}, got); diff != "" {
		t.Errorf("kept, oldest first (-want +got):\n%s", diff)
	}
}
