package demo

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/stack"
)

// watcher follows what Foreshadow does, over the same API that everybody has.
type watcher struct {
	demo    *run
	conns   []*grpc.ClientConn
	history foreshadowv1.HistoryServiceClient
	advice  foreshadowv1.RecommendationServiceClient

	mu        sync.Mutex
	newest    *foreshadowv1.Recommendation
	shadowP95 float64
	shadowAt  time.Time
	ready     int32
	desired   int32
}

func newWatcher(d *run) (*watcher, error) {
	w := &watcher{demo: d, shadowP95: math.NaN()}
	dial := func(name string) (*grpc.ClientConn, error) {
		conn, err := rpc.Dial(d.stack.Listen(name))
		if err == nil {
			w.conns = append(w.conns, conn)
		}
		return conn, err
	}
	aggregator, err := dial(stack.Aggregator)
	if err != nil {
		return nil, err
	}
	predictor, err := dial(stack.Predictor)
	if err != nil {
		return nil, err
	}
	w.history = foreshadowv1.NewHistoryServiceClient(aggregator)
	w.advice = foreshadowv1.NewRecommendationServiceClient(predictor)
	return w, nil
}

func (w *watcher) close() {
	for _, c := range w.conns {
		_ = c.Close()
	}
}

// live prints one line per few seconds until ctx ends.
func (w *watcher) live(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { w.followRecommendations(ctx) })
	wg.Go(func() { w.followWindows(ctx) })
	defer wg.Wait()
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.demo.say("%s", w.line(now))
		}
	}
}

func (w *watcher) followRecommendations(ctx context.Context) {
	follow(ctx, func() error {
		stream, err := w.advice.WatchRecommendations(ctx, &foreshadowv1.WatchRecommendationsRequest{Workload: workloadName})
		if err != nil {
			return err
		}
		for {
			resp, err := stream.Recv()
			if err != nil {
				return err
			}
			w.mu.Lock()
			w.newest = resp.GetRecommendation()
			w.mu.Unlock()
		}
	})
}

func (w *watcher) followWindows(ctx context.Context) {
	follow(ctx, func() error {
		stream, err := w.history.StreamWindows(ctx, &foreshadowv1.StreamWindowsRequest{Workload: workloadName})
		if err != nil {
			return err
		}
		for {
			resp, err := stream.Recv()
			if err != nil {
				return err
			}
			w.observe(resp.GetWindow())
		}
	})
}

// follow calls again what ends with an error, until ctx ends: a service that is restarted comes back.
func follow(ctx context.Context, stream func() error) {
	for ctx.Err() == nil {
		_ = stream()
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (w *watcher) observe(win *foreshadowv1.MetricsWindowed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case win.GetEnvironment() == foreshadowv1.Environment_ENVIRONMENT_SHADOW && win.GetTraffic() != nil:
		strata, err := metric.StrataFromProto(win.GetTraffic().GetStrata())
		if err != nil {
			return
		}
		if total := strata.Total(); total.Latency.Count() > 0 {
			w.shadowP95, w.shadowAt = total.Latency.Quantile(0.95), win.GetStartTime().AsTime()
		}
	case win.GetEnvironment() == foreshadowv1.Environment_ENVIRONMENT_PRODUCTION && win.GetUsage() != nil:
		w.ready, w.desired = win.GetUsage().GetReadyInstances(), win.GetUsage().GetDesiredInstances()
	}
}

// line is the state of everything in one line.
func (w *watcher) line(now time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.demo.clock.recorded(now)
	if w.newest == nil {
		return at.Format("Mon 15:04") + "  no recommendation yet"
	}
	e := w.newest.GetEvidence()
	shadow := "asleep"
	if !w.shadowAt.IsZero() && now.Sub(w.shadowAt) < 5*time.Second {
		shadow = fmt.Sprintf("p95 %3.0f ms", 1000*w.shadowP95)
	}
	forecast := "no forecast yet"
	if e.GetForecastPerSecond() > 0 {
		forecast = fmt.Sprintf("in %.0f s ~%3.0f, below %3.0f (%.0f %%)",
			e.GetLeadTimeSeconds(), e.GetForecastMeanPerSecond(), e.GetForecastPerSecond(), 100*e.GetQuantile())
	}
	return fmt.Sprintf("%s  demand %3.0f/s  %s  ready %d/%d  want %d  shadow %s  %s: %s",
		at.Format("Mon 15:04"), e.GetDemandPerSecond(), forecast, w.ready, w.desired, w.newest.GetProduction().GetInstances(),
		shadow, strings.ToLower(strings.TrimPrefix(w.newest.GetPolicy().String(), "POLICY_")), w.newest.GetReasons()[0].GetText())
}
