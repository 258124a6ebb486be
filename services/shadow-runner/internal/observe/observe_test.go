package observe_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/observe"
)

var (
	epoch = time.Unix(1000, 0).UTC()
	home  = traffic.Stratum{Route: "GET /"}
)

// line is an observation in short.
type line struct {
	Second                                 int64
	Requests, Responses, Errors, Violating uint64
	MaxInFlight                            uint32
	MaxLag                                 float64
}

func lines(t *testing.T, list []*foreshadowv1.MetricsObserved) []line {
	t.Helper()
	var out []line
	for _, o := range list {
		strata, err := metric.StrataFromProto(o.GetTraffic())
		if err != nil {
			t.Fatal(err)
		}
		if o.GetWorkload() != "shop" || o.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_SHADOW || o.GetSource() != "shadow-runner" || o.GetDurationSeconds() != 1 {
			t.Errorf("observation %v", o)
		}
		total := strata.Total()
		if total.Latency.Count() != total.Responses {
			t.Errorf("%d latencies of %d responses", total.Latency.Count(), total.Responses)
		}
		out = append(out, line{
			o.GetStartTime().AsTime().Unix() - epoch.Unix(), total.Requests, total.Responses, total.Errors, total.SLOViolations,
			o.GetMaxInFlight(), o.GetMaxLagSeconds(),
		})
	}
	return out
}

func TestEverySecondIsReportedOnce(t *testing.T) {
	t.Parallel()
	now := epoch
	r := observe.NewRecorder("shop", 100*time.Millisecond, func() time.Time { return now })
	at := func(d time.Duration) { now = epoch.Add(d) }

	at(100 * time.Millisecond)
	r.Sent(home, 200, 3*time.Millisecond)
	r.Sent(home, 200, time.Millisecond)
	at(200 * time.Millisecond)
	r.Answered(home, 900, 100*time.Millisecond, false)
	if got := r.Take(false); len(got) != 0 {
		t.Errorf("took the present second: %v", got)
	}
	// Its answer comes two seconds later, into the second it comes in.
	at(2500 * time.Millisecond)
	r.Answered(home, 0, 2400*time.Millisecond, true)
	at(3 * time.Second)
	want := []line{
		{Second: 0, Requests: 2, Responses: 1, MaxInFlight: 2, MaxLag: 0.003},
		{Second: 1, MaxInFlight: 1},
		{Second: 2, Responses: 1, Errors: 1, Violating: 1, MaxInFlight: 1},
	}
	if diff := cmp.Diff(want, lines(t, r.Take(false))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	at(3500 * time.Millisecond)
	r.Sent(home, 1, 0)
	if diff := cmp.Diff([]line{{Second: 3, Requests: 1, MaxInFlight: 1}}, lines(t, r.Take(true))); diff != "" {
		t.Errorf("final (-want +got):\n%s", diff)
	}
}

func TestAStoppedProcessDoesNotReportHoursOfSilence(t *testing.T) {
	t.Parallel()
	now := epoch
	r := observe.NewRecorder("shop", time.Second, func() time.Time { return now })
	r.Sent(home, 1, 0)
	now = epoch.Add(time.Hour)
	if diff := cmp.Diff([]line{{Requests: 1, MaxInFlight: 1}}, lines(t, r.Take(false))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	now = epoch.Add(time.Hour + time.Second)
	if got := lines(t, r.Take(false)); len(got) != 1 || got[0].Second != 3600 {
		t.Errorf("after it: %v", got)
	}
}

func TestSumsAreExactUnderConcurrency(t *testing.T) {
	t.Parallel()
	r := observe.NewRecorder("shop", time.Second, time.Now)
	const workers, each = 8, 500
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				r.Sent(home, 10, 0)
				r.Answered(home, 20, time.Duration(i)*time.Millisecond, i%10 == 0)
			}
		})
	}
	wg.Wait()
	total := metric.Strata{}
	for _, o := range r.Take(true) {
		strata, err := metric.StrataFromProto(o.GetTraffic())
		if err != nil {
			t.Fatal(err)
		}
		total.Merge(strata)
	}
	got := total.Total()
	if got.Requests != workers*each || got.Responses != workers*each || got.Errors != workers*each/10 ||
		got.RequestBytes != 10*workers*each || got.ResponseBytes != 20*workers*each || got.Latency.Count() != workers*each {
		t.Errorf("got %+v", got)
	}
}

// TestAClockThatIsSetBackIsFollowed: a second may be reported twice then, which readers add; an hour must not pass for one second.
func TestAClockThatIsSetBackIsFollowed(t *testing.T) {
	t.Parallel()
	now := epoch.Add(time.Hour)
	r := observe.NewRecorder("shop", time.Second, func() time.Time { return now })
	r.Sent(home, 1, 0)
	now = epoch
	r.Answered(home, 1, 0, false)
	now = epoch.Add(time.Second)
	want := []line{{Second: 3600, Requests: 1, MaxInFlight: 1}, {Second: 0, Responses: 1, MaxInFlight: 1}}
	if diff := cmp.Diff(want, lines(t, r.Take(false))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
