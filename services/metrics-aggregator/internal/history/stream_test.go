package history_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

// TestStreamHasNoGapBetweenPastAndPresent writes while streams begin; each must end up with what is stored.
func TestStreamHasNoGapBetweenPastAndPresent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rng := rand.New(rand.NewPCG(4, 4))
	const writes, streams = 120, 4
	for range 30 {
		b.add(t, rng.IntN(20), rng)
	}
	type view map[time.Time]*foreshadowv1.MetricsWindowed
	views := make(chan view, streams)
	begin := make(chan struct{}, streams)
	for range streams {
		go func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := view{}
			<-begin
			stream, err := b.client.StreamWindows(ctx, &foreshadowv1.StreamWindowsRequest{
				Workload: "shop", StartTime: timestamppb.New(epoch), Environments: []foreshadowv1.Environment{production}})
			if err != nil {
				t.Error(err)
			}
			// The last write is to a window after all others, in either order, so that a stream knows when it has seen all.
			for got[epoch.Add(1000*time.Second)] == nil {
				resp, err := stream.Recv()
				if err != nil {
					t.Error(err)
					break
				}
				at := resp.Window.StartTime.AsTime()
				if got[at].GetRevision() <= resp.Window.Revision {
					got[at] = resp.Window
				}
			}
			views <- got
		}()
	}
	for i := range writes {
		if i%(writes/streams) == 0 {
			begin <- struct{}{}
		}
		// Half of the windows are written only once: no later revision makes good for one that was missed.
		b.add(t, rng.IntN(20), rng)
		b.add(t, 100+i, rng)
	}
	b.add(t, 1000, rng)

	want := view{}
	keys, windows, err := window.ListTraffic(t.Context(), b.pool, window.Range{Workload: "shop", Environment: production, From: epoch, To: now()}, window.Position{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		want[k.Start] = windows[k].Proto(k)
	}
	for range streams {
		if diff := cmp.Diff(want, <-views, protocmp.Transform()); diff != "" {
			t.Errorf("a stream missed something (-stored +streamed):\n%s", diff)
		}
	}
}

func TestStreamFollowsOnlyWhatIsNewWithoutAStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rng := rand.New(rand.NewPCG(5, 5))
	b.add(t, 0, rng)
	stream, err := b.client.StreamWindows(t.Context(), &foreshadowv1.StreamWindowsRequest{Workload: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	// Whether the stream began before a write cannot be seen from outside; it is written until something arrives.
	first := make(chan *foreshadowv1.MetricsWindowed, 1)
	go func() {
		resp, err := stream.Recv()
		if err != nil {
			t.Error(err)
		}
		first <- resp.GetWindow()
	}()
	for i := 1; ; i++ {
		b.add(t, i, rng)
		select {
		case w := <-first:
			if w.StartTime.AsTime().Equal(epoch) {
				t.Error("the past was sent without being asked for")
			}
		default:
			continue
		}
		break
	}
	usage := window.Key{Workload: "shop", Environment: foreshadowv1.Environment_ENVIRONMENT_SHADOW, Start: epoch, Width: time.Second}
	if err := b.store.SaveUsage(t.Context(), usage, &window.Usage{Desired: 1}); err != nil {
		t.Fatal(err)
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if resp.Window.GetUsage() != nil {
			break // came without a bell, by the poll
		}
	}
	close(b.done)
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a stream of a server that stops ends with %v", err)
	}
	for field, req := range map[string]*foreshadowv1.StreamWindowsRequest{
		"workload":     {},
		"environments": {Workload: "shop", Environments: []foreshadowv1.Environment{0}},
		"start_time":   {Workload: "shop", StartTime: &timestamppb.Timestamp{Nanos: -1}},
	} {
		stream, err := b.client.StreamWindows(t.Context(), req)
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("bad %s: %v", field, err)
		}
	}
}
