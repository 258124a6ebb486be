package live

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quietFeed() *Feed {
	return NewFeed(workload.Workload{Name: "shop"}, upstream.Clients{}, Options{Retention: time.Minute, MaxClients: 2, Pace: time.Second}, Metrics{
		Clients:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "clients"}),
		Slow:     prometheus.NewCounter(prometheus.CounterOpts{Name: "slow"}),
		Failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "failures"}, []string{"source"}),
	}, slog.New(slog.DiscardHandler))
}

func TestSlowBrowserIsDisconnectedAndOthersAreNot(t *testing.T) {
	t.Parallel()
	f := quietFeed()
	slow, err := f.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	quick, err := f.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	<-quick.Frames() // the snapshot
	for i := range queueFrames + 1 {
		f.Backends([]upstream.State{{Name: upstream.History, Reachable: i%2 == 0}})
		if _, open := <-quick.Frames(); !open {
			t.Fatal("the quick browser was disconnected")
		}
	}
	got := 0
	for range slow.Frames() { // ends only because the channel was closed
		got++
	}
	if got != queueFrames {
		t.Errorf("the slow browser was left %d frames, want the %d that fit", got, queueFrames)
	}
	if n := testutil.ToFloat64(f.metrics.Slow); n != 1 {
		t.Errorf("slow clients = %v, want 1", n)
	}
	slow.Close() // once more is harmless
	quick.Close()
	if n := testutil.ToFloat64(f.metrics.Clients); n != 0 {
		t.Errorf("clients = %v after all have gone", n)
	}
}
