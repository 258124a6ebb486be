package traffic_test

import (
	"fmt"
	"math"
	"net/http"
	"testing"

	"github.com/foreshadow/foreshadow/libs/traffic"
)

func TestSamplerIsNestedAndUnbiased(t *testing.T) {
	t.Parallel()
	s := traffic.NewSampler("key")
	const n = 20000
	ratios := []float64{0, 0.01, 0.05, 0.2, 1}
	counts := make([]int, len(ratios))
	for i := range n {
		session := fmt.Sprintf("session-%d", i)
		before := false
		for j, ratio := range ratios {
			in := s.Includes(session, ratio)
			if before && !in {
				t.Fatalf("session %d is in the smaller sample but not in that of %v", i, ratio)
			}
			if before = in; in {
				counts[j]++
			}
		}
	}
	for j, ratio := range ratios {
		// Five standard deviations of the binomial: a correct sampler fails once in millions of keys, and the key is fixed.
		if slack := 5 * math.Sqrt(n*ratio*(1-ratio)); math.Abs(float64(counts[j])-n*ratio) > slack {
			t.Errorf("ratio %v picked %d of %d", ratio, counts[j], n)
		}
	}
}

func TestKeysSeparateSamplesAndPseudonyms(t *testing.T) {
	t.Parallel()
	a, b := traffic.NewSampler("a"), traffic.NewSampler("b")
	if again := traffic.NewSampler("a"); a.Pseudonym("query", "alice") != again.Pseudonym("query", "alice") {
		t.Error("a pseudonym is not stable")
	}
	if a.Pseudonym("query", "alice") == b.Pseudonym("query", "alice") || a.Pseudonym("query", "x") == a.Pseudonym("session", "x") {
		t.Error("keys or kinds share pseudonyms")
	}
	differ := 0
	for i := range 1000 {
		if session := fmt.Sprint(i); a.Includes(session, 0.5) != b.Includes(session, 0.5) {
			differ++
		}
	}
	if differ < 400 || differ > 600 {
		t.Errorf("two keys disagree on %d of 1000 sessions, want about half", differ)
	}
}

func TestIsShadow(t *testing.T) {
	t.Parallel()
	if traffic.IsShadow(http.Header{}) || !traffic.IsShadow(http.Header{traffic.ShadowHeader: {""}}) {
		t.Error("the mark is its presence, whatever its value")
	}
}
