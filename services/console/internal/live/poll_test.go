package live

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// TestTheCapacityInUseIsShown: attempts that came to nothing do not hide the measurement that is decided by.
func TestTheCapacityInUseIsShown(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ measured, want string }{
		"none":                     {"", ""},
		"all may be used":          {"vvvvvv", "vvvv"},
		"the newest may be used":   {"viiiii", "viii"},
		"behind a few":             {"iiv", "iiv"},
		"behind many":              {"iiiiiiiivi", "iiiiv"},
		"none of many may be used": {"iiiiiiii", "iiii"},
	} {
		var measured []*foreshadowv1.CapacityMeasured
		for i, c := range tc.measured {
			measured = append(measured, &foreshadowv1.CapacityMeasured{Valid: c == 'v', RequestsPerSecond: float64(i)})
		}
		got := ""
		for _, m := range shownCapacities(measured) {
			got += map[bool]string{true: "v", false: "i"}[m.Valid]
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
