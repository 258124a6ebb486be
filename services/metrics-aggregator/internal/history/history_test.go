package history_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/history"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

var epoch = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func now() time.Time { return epoch.Add(time.Hour) }

func migrate(ctx context.Context, url string) error {
	pool, err := database.Open(workload.Secret(url))
	if err != nil {
		return err
	}
	defer pool.Close()
	return database.Migrate(ctx, pool)
}

const production = foreshadowv1.Environment_ENVIRONMENT_PRODUCTION

// bench is a server over a database of the test's own.
type bench struct {
	pool   *pgxpool.Pool
	store  *window.Store
	bell   *notify.Bell
	done   chan struct{}
	client foreshadowv1.HistoryServiceClient
}

func newBench(t *testing.T) *bench {
	t.Helper()
	pool, err := database.Open(workload.Secret(embeddedtest.PostgresFrom(t, migrate)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	b := &bench{pool: pool, store: window.NewStore(pool, database.NewStorage(pool), now), bell: &notify.Bell{}, done: make(chan struct{})}
	b.client = serve(t, history.New(history.Config{Pool: pool, Bell: b.bell, Workloads: []string{"shop"}, Width: time.Second, Now: now, Done: b.done}))
	return b
}

func serve(t *testing.T, server *history.Server) foreshadowv1.HistoryServiceClient {
	t.Helper()
	ln, err := rpc.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := rpc.NewServer(slog.New(slog.DiscardHandler))
	foreshadowv1.RegisterHistoryServiceServer(s, server)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	conn, err := rpc.Dial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return foreshadowv1.NewHistoryServiceClient(conn)
}

// add merges a delta into the production window that is i seconds after the epoch.
func (b *bench) add(t *testing.T, i int, rng *rand.Rand) *window.Traffic {
	t.Helper()
	strata := metric.Strata{}
	for _, route := range []string{"GET /a", "GET /b"} {
		c := strata.At(traffic.Stratum{Route: route})
		c.Requests, c.Responses, c.Errors = 1+rng.Uint64N(9), 2, rng.Uint64N(2)
		c.Latency.Add(float64(1+rng.IntN(99)) / 1024)
		c.Latency.Add(float64(1+rng.IntN(99)) / 1024)
	}
	w := &window.Traffic{Strata: strata, MaxInFlight: uint32(rng.IntN(9)), MaxLag: 0}
	deltas := map[window.Key]*window.Traffic{{Workload: "shop", Environment: production, Start: epoch.Add(time.Duration(i) * time.Second), Width: time.Second}: w}
	if err := b.store.Prepare(t.Context(), map[time.Time]bool{epoch: true},
		map[traffic.Stratum]bool{{Route: "GET /a"}: true, {Route: "GET /b"}: true}); err != nil {
		t.Fatal(err)
	}
	if err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error { return b.store.Merge(t.Context(), tx, "test", deltas) }); err != nil {
		t.Fatal(err)
	}
	b.bell.Ring()
	return w
}

// pages follows the tokens to the end.
func (b *bench) pages(t *testing.T, req *foreshadowv1.QueryWindowsRequest) (windows []*foreshadowv1.MetricsWindowed, pages int) {
	t.Helper()
	req = proto.CloneOf(req)
	for {
		resp, err := b.client.QueryWindows(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if req.PageSize > 0 && len(resp.Windows) > int(req.PageSize) {
			t.Fatalf("page of %d windows, asked for %d", len(resp.Windows), req.PageSize)
		}
		windows, pages = append(windows, resp.Windows...), pages+1
		if req.PageToken = resp.NextPageToken; req.PageToken == "" {
			return windows, pages
		}
	}
}

func TestQueryWindowsMergesStepsAndLeavesHolesAbsent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rng := rand.New(rand.NewPCG(1, 1))
	// Steps of 5 s: full, half, absent, and one that begins in its middle.
	stored, sums := map[int]*window.Traffic{}, map[int]*window.Traffic{}
	for _, i := range []int{0, 1, 2, 3, 4, 5, 6, 600, 602} {
		stored[i] = b.add(t, i, rng)
		s := sums[i/5]
		if s == nil {
			s = &window.Traffic{}
			sums[i/5] = s
		}
		s.Merge(stored[i])
	}
	window5 := func(step int, covered time.Duration) *foreshadowv1.MetricsWindowed {
		sums[step].Revision = 1
		return sums[step].Proto(window.Key{Workload: "shop", Environment: production, Start: epoch.Add(time.Duration(step) * 5 * time.Second), Width: covered})
	}
	want := []*foreshadowv1.MetricsWindowed{window5(0, 5*time.Second), window5(1, 2*time.Second), window5(120, 2*time.Second)}
	req := &foreshadowv1.QueryWindowsRequest{Workload: "shop", Environment: production, StartTime: timestamppb.New(epoch), StepSeconds: 5}
	got, _ := b.pages(t, req)
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("steps with sketches (-want +got):\n%s", diff)
	}
	for _, w := range want {
		strata, err := metric.StrataFromProto(w.GetTraffic().Strata)
		if err != nil {
			t.Fatal(err)
		}
		total := strata.Total().Proto()
		total.Latency = nil
		w.GetTraffic().Strata = []*foreshadowv1.Traffic{total}
	}
	req.TotalsOnly = true
	got, _ = b.pages(t, req)
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("totals of steps (-want +got):\n%s", diff)
	}
}

func TestPagesOfAnySizeAddUpToTheWhole(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rng := rand.New(rand.NewPCG(2, 2))
	for range 40 {
		b.add(t, rng.IntN(300), rng)
	}
	for i := range 20 {
		u := &window.Usage{Desired: 2, Ready: int32(i % 3), Instances: []*foreshadowv1.InstanceUsage{
			{Instance: "a", CpuCores: 0.5, GivenCpuCores: 1.5, GivenMemoryBytes: 3 << 30}, {Instance: "b", MemoryBytes: 7},
		}}
		key := window.Key{Workload: "shop", Environment: production, Start: epoch.Add(time.Duration(2*i) * time.Second), Width: time.Second}
		if err := b.store.SaveUsage(t.Context(), key, u); err != nil {
			t.Fatal(err)
		}
		// A second collector reads a little later, and changes nothing.
		if err := b.store.SaveUsage(t.Context(), key, &window.Usage{Desired: 9}); err != nil {
			t.Fatal(err)
		}
	}
	base := &foreshadowv1.QueryWindowsRequest{Workload: "shop", Environment: production, StartTime: timestamppb.New(epoch.Add(3 * time.Second)), EndTime: timestamppb.New(epoch.Add(250 * time.Second))}
	for name, change := range map[string]func(*foreshadowv1.QueryWindowsRequest){
		"windows":         func(*foreshadowv1.QueryWindowsRequest) {},
		"totals":          func(r *foreshadowv1.QueryWindowsRequest) { r.TotalsOnly = true },
		"steps":           func(r *foreshadowv1.QueryWindowsRequest) { r.StepSeconds = 7 },
		"totals of steps": func(r *foreshadowv1.QueryWindowsRequest) { r.StepSeconds, r.TotalsOnly = 7, true },
		"usage":           func(r *foreshadowv1.QueryWindowsRequest) { r.Kind = foreshadowv1.WindowKind_WINDOW_KIND_USAGE },
	} {
		req := proto.CloneOf(base)
		change(req)
		whole, pages := b.pages(t, req)
		for _, w := range whole {
			if u := w.GetUsage(); u != nil && (u.Instances[0].GivenCpuCores != 1.5 || u.Instances[0].GivenMemoryBytes != 3<<30 || u.Instances[1].GivenCpuCores != 0) {
				t.Errorf("what instances were given came back as %v", u.Instances)
			}
		}
		if len(whole) < 5 || pages != 1 {
			t.Fatalf("%s: %d windows in %d pages", name, len(whole), pages)
		}
		for i := range whole[1:] {
			if !whole[i].StartTime.AsTime().Before(whole[i+1].StartTime.AsTime()) {
				t.Errorf("%s: window %d does not come before the next", name, i)
			}
		}
		for _, size := range []int32{1, 3, int32(len(whole)) - 1, int32(len(whole))} {
			req.PageSize = size
			got, pages := b.pages(t, req)
			if diff := cmp.Diff(whole, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s by %d (-whole +pages):\n%s", name, size, diff)
			}
			if want := (len(whole) + int(size) - 1) / int(size); pages != want {
				t.Errorf("%s by %d: %d pages, want %d", name, size, pages, want)
			}
		}
	}
	usage, _ := b.pages(t, &foreshadowv1.QueryWindowsRequest{Workload: "shop", Environment: production, StartTime: timestamppb.New(epoch), Kind: foreshadowv1.WindowKind_WINDOW_KIND_USAGE})
	if len(usage) != 20 || usage[0].Revision != 1 || usage[0].GetUsage().DesiredInstances != 2 || len(usage[0].GetUsage().Instances) != 2 {
		t.Errorf("usage windows are not those of the first collector: %d, first %v", len(usage), usage[0])
	}
}

// TestWindowsOfManyStrataAreReadFewAtATime: as many at once as of others would be gigabytes.
func TestWindowsOfManyStrataAreReadFewAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const windows, strata = 25, 2000
	delta, names := metric.Strata{}, map[traffic.Stratum]bool{}
	for i := range strata {
		s := traffic.Stratum{Route: fmt.Sprintf("GET /%d", i)}
		names[s] = true
		delta.At(s).Requests = 1
	}
	if err := b.store.Prepare(t.Context(), map[time.Time]bool{epoch: true}, names); err != nil {
		t.Fatal(err)
	}
	for i := range windows {
		key := window.Key{Workload: "shop", Environment: production, Start: epoch.Add(time.Duration(i) * time.Second), Width: time.Second}
		if err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
			return b.store.Merge(t.Context(), tx, "test", map[window.Key]*window.Traffic{key: {Strata: delta}})
		}); err != nil {
			t.Fatal(err)
		}
	}
	all := window.Range{Workload: "shop", Environment: production, From: epoch, To: epoch.Add(time.Hour)}
	keys, found, err := window.ListTraffic(t.Context(), b.pool, all, window.Position{}, 500)
	if err != nil || len(keys) == 0 || len(keys) != len(found) || len(keys)*strata > 2*window.MaxStrata {
		t.Errorf("%d windows at once, %d with strata, %v", len(keys), len(found), err)
	}
	for step, want := range map[float64]int{0: windows, 2: (windows + 1) / 2} {
		got, _ := b.pages(t, &foreshadowv1.QueryWindowsRequest{
			Workload: "shop", Environment: production, StartTime: timestamppb.New(epoch), EndTime: timestamppb.New(all.To), StepSeconds: step,
		})
		var requests uint64
		for _, w := range got {
			for _, s := range w.GetTraffic().GetStrata() {
				requests += s.GetRequests()
			}
		}
		if len(got) != want || requests != windows*strata {
			t.Errorf("steps of %v s: %d windows of %d requests, want %d of %d", step, len(got), requests, want, windows*strata)
		}
	}
}

func TestDecisionsComeNewestFirstInPages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var want []string
	for i := range 25 {
		id := fmt.Sprintf("r%02d", i)
		// Some share their time: the id decides.
		m := &foreshadowv1.Recommendation{RecommendationId: id, Workload: "shop", CreateTime: timestamppb.New(epoch.Add(time.Duration(i/4) * time.Second))}
		payload, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.pool.Exec(t.Context(), "insert into recommendation values ($1, 'shop', $2, $3)", id, m.CreateTime.AsTime(), payload); err != nil {
			t.Fatal(err)
		}
		want = append([]string{id}, want...)
	}
	for _, size := range []int32{0, 1, 4, 25} {
		req := &foreshadowv1.QueryRecommendationsRequest{Workload: "shop", PageSize: size}
		var got []string
		for {
			resp, err := b.client.QueryRecommendations(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range resp.Recommendations {
				got = append(got, r.RecommendationId)
			}
			if req.PageToken = resp.NextPageToken; req.PageToken == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %d (-want +got):\n%s", size, diff)
		}
	}
	if actions, err := b.client.QueryScalingActions(t.Context(), &foreshadowv1.QueryScalingActionsRequest{Workload: "shop"}); err != nil || len(actions.Actions) != 0 {
		t.Errorf("scaling actions of nobody: %v, %v", actions, err)
	}
}

func TestRequestsAreRefusedByField(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rng := rand.New(rand.NewPCG(3, 3))
	b.add(t, 0, rng)
	b.add(t, 1, rng)
	good := &foreshadowv1.QueryWindowsRequest{Workload: "shop", Environment: production, StartTime: timestamppb.New(epoch), PageSize: 1}
	resp, err := b.client.QueryWindows(t.Context(), good)
	if err != nil || resp.NextPageToken == "" {
		t.Fatalf("first page: %v, %v", resp, err)
	}
	for name, c := range map[string]struct {
		spoil func(*foreshadowv1.QueryWindowsRequest)
		code  codes.Code
		field string
	}{
		"no workload":      {func(r *foreshadowv1.QueryWindowsRequest) { r.Workload = "" }, codes.InvalidArgument, "workload"},
		"unknown workload": {func(r *foreshadowv1.QueryWindowsRequest) { r.Workload = "bank" }, codes.NotFound, `workload "bank"`},
		"no environment":   {func(r *foreshadowv1.QueryWindowsRequest) { r.Environment = 0 }, codes.InvalidArgument, "environment"},
		"no start":         {func(r *foreshadowv1.QueryWindowsRequest) { r.StartTime = nil }, codes.InvalidArgument, "start_time"},
		"end before start": {func(r *foreshadowv1.QueryWindowsRequest) { r.EndTime = timestamppb.New(epoch.Add(-1)) }, codes.InvalidArgument, "end_time"},
		"odd step":         {func(r *foreshadowv1.QueryWindowsRequest) { r.StepSeconds = 1.5 }, codes.InvalidArgument, "step_seconds"},
		"negative step":    {func(r *foreshadowv1.QueryWindowsRequest) { r.StepSeconds = -1 }, codes.InvalidArgument, "step_seconds"},
		"steps of usage": {func(r *foreshadowv1.QueryWindowsRequest) {
			r.StepSeconds, r.Kind = 2, foreshadowv1.WindowKind_WINDOW_KIND_USAGE
		}, codes.InvalidArgument, "step_seconds"},
		"kind":              {func(r *foreshadowv1.QueryWindowsRequest) { r.Kind = 9 }, codes.InvalidArgument, "kind"},
		"negative size":     {func(r *foreshadowv1.QueryWindowsRequest) { r.PageSize = -1 }, codes.InvalidArgument, "page_size"},
		"made-up token":     {func(r *foreshadowv1.QueryWindowsRequest) { r.PageToken = "!" }, codes.InvalidArgument, "page_token"},
		"another's token":   {func(r *foreshadowv1.QueryWindowsRequest) { r.TotalsOnly, r.PageToken = true, resp.NextPageToken }, codes.InvalidArgument, "page_token"},
		"token, other size": {func(r *foreshadowv1.QueryWindowsRequest) { r.PageSize, r.PageToken = 7, resp.NextPageToken }, codes.OK, ""},
	} {
		req := proto.CloneOf(good)
		c.spoil(req)
		_, err := b.client.QueryWindows(t.Context(), req)
		if s := status.Convert(err); s.Code() != c.code || len(s.Message()) < len(c.field) || s.Message()[:len(c.field)] != c.field {
			t.Errorf("%s: %v, want %s naming %s", name, err, c.code, c.field)
		}
	}
}

func TestDatabaseAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	pool, err := database.Open("postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	client := serve(t, history.New(history.Config{Pool: pool, Bell: &notify.Bell{}, Workloads: []string{"shop"}, Width: time.Second, Now: now}))
	_, err = client.QueryScalingActions(t.Context(), &foreshadowv1.QueryScalingActionsRequest{Workload: "shop"})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("actions: %v, want UNAVAILABLE", err)
	}
	_, err = client.QueryWindows(t.Context(), &foreshadowv1.QueryWindowsRequest{Workload: "shop", Environment: production, StartTime: timestamppb.New(epoch)})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("windows: %v, want UNAVAILABLE", err)
	}
}
