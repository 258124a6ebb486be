package rollout

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

func TestFelt(t *testing.T) {
	t.Parallel()
	const within = 3 * time.Minute
	made := func(workload string, ago time.Duration) journal.Action {
		return journal.Action{ScalingApplied: &foreshadowv1.ScalingApplied{
			Workload: workload, Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, CreateTime: timestamppb.New(noon.Add(-ago)),
		}}
	}
	shadow := made("shop", time.Minute)
	shadow.Environment = foreshadowv1.Environment_ENVIRONMENT_SHADOW
	for name, test := range map[string]struct {
		lane journal.Lane
		want time.Duration
	}{
		"nothing was done": {},
		"it is watched":    {journal.Lane{Watch: &journal.Watch{Action: made("shop", 2*time.Minute), Since: noon.Add(-time.Minute)}}, 5 * time.Minute},
		"it was kept":      {journal.Lane{Watch: &journal.Watch{Action: made("shop", 9*time.Minute), Since: noon.Add(-8 * time.Minute)}}, 0},
		"under way":        {journal.Lane{Flights: []journal.Flight{{Action: made("shop", time.Minute)}, {Action: made("shop", 0)}}}, 4 * time.Minute},
		"for days":         {journal.Lane{Flights: []journal.Flight{{Action: made("shop", 48*time.Hour)}}}, mostFelt},
		"nobody watches":   {journal.Lane{Flights: []journal.Flight{{Action: made("gone", time.Minute)}}}, 0},
		"of the shadow":    {journal.Lane{Flights: []journal.Flight{{Action: shadow}}}, 0},
	} {
		j, err := journal.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := j.SetLane("lane", test.lane, nil); err != nil {
			t.Fatal(err)
		}
		got := Felt(j, func(workload string) time.Duration {
			if workload == "shop" {
				return within
			}
			return 0
		}, noon)
		if noon.Sub(got) != test.want {
			t.Errorf("%s: since %v before now, want %v", name, noon.Sub(got), test.want)
		}
	}
}
