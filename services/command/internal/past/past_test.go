package past

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// store answers with its windows, two to a page.
type store struct {
	foreshadowv1.HistoryServiceClient
	windows []*foreshadowv1.MetricsWindowed
	asked   *foreshadowv1.QueryWindowsRequest
	err     error
}

func (s *store) QueryWindows(_ context.Context, r *foreshadowv1.QueryWindowsRequest, _ ...grpc.CallOption) (*foreshadowv1.QueryWindowsResponse, error) {
	s.asked = r
	if s.err != nil {
		return nil, s.err
	}
	at := len(r.GetPageToken())
	end := min(at+2, len(s.windows))
	resp := &foreshadowv1.QueryWindowsResponse{Windows: s.windows[at:end]}
	if end < len(s.windows) {
		resp.NextPageToken = strings.Repeat("x", end)
	}
	return resp, nil
}

func window(minute int, seconds float64, requests ...uint64) *foreshadowv1.MetricsWindowed {
	t := &foreshadowv1.TrafficWindow{}
	for _, n := range requests {
		t.Strata = append(t.Strata, &foreshadowv1.Traffic{Requests: n})
	}
	return &foreshadowv1.MetricsWindowed{
		StartTime: timestamppb.New(epoch.Add(time.Duration(minute) * time.Minute)), DurationSeconds: seconds,
		Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: t},
	}
}

func TestReadMakesARegularSeries(t *testing.T) {
	t.Parallel()
	s := &store{windows: []*foreshadowv1.MetricsWindowed{
		window(3, 60, 60, 120), window(4, 20, 999), window(6, 40, 80), window(7, 60, 0),
	}}
	got, err := Read(context.Background(), s, Query{"shop", epoch.Add(time.Second), epoch.Add(time.Hour), time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	if d := cmp.Diff([]float64{3, nan, nan, 2, 0}, got.Values, cmpopts.EquateNaNs()); d != "" {
		t.Error(d)
	}
	if !got.Start.Equal(epoch.Add(3*time.Minute)) || got.Step != time.Minute {
		t.Errorf("starts %s, step %s", got.Start, got.Step)
	}
	if s.asked.GetWorkload() != "shop" || !s.asked.GetTotalsOnly() || s.asked.GetStepSeconds() != 60 ||
		!s.asked.GetStartTime().AsTime().Equal(epoch) || s.asked.GetEnvironment() != foreshadowv1.Environment_ENVIRONMENT_PRODUCTION {
		t.Errorf("asked for %v", s.asked)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	ask := func(s *store, to time.Time) error {
		_, err := Read(context.Background(), s, Query{"shop", epoch, to, time.Minute})
		return err
	}
	hour := epoch.Add(time.Hour)
	for want, err := range map[string]error{
		"nothing was seen between 2026-03-02T00:00:00Z and 2026-03-02T01:00:00Z": ask(&store{windows: nil}, hour),
		"0 steps of 1m0s":    ask(&store{}, epoch),
		"connection refused": ask(&store{err: status.Error(codes.Unavailable, "connection refused")}, hour),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "read history of shop") {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}
