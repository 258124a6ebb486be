package live

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

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

func TestNothingIsPolledWhileNobodyLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := quietFeed()
		var asked atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		go f.poll(ctx, poll{source: SourceForecast, every: time.Second, ask: func(context.Context) (proto.Message, error) {
			asked.Add(1)
			return &foreshadowv1.GetForecastResponse{}, nil
		}})
		after := func(d time.Duration, want int, when string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := asked.Load(); int(got) != want {
				t.Errorf("asked %d times %s, want %d", got, when, want)
			}
		}
		after(time.Minute, 0, "before a browser came")
		c, err := f.Subscribe()
		if err != nil {
			t.Fatal(err)
		}
		after(0, 1, "when one came")
		after(10*time.Second, 11, "while one looks")
		c.Close()
		after(time.Minute, 11, "after it went")
		if _, err := f.Subscribe(); err != nil {
			t.Fatal(err)
		}
		after(0, 12, "when one came again")
		cancel()
	})
}
