package api_test

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/proto/externalscaler"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func ref(workload string) *externalscaler.ScaledObjectRef {
	return &externalscaler.ScaledObjectRef{Name: "object", ScalerMetadata: map[string]string{"workload": workload}}
}

func TestKEDAGetsTheInstancesAsTheMetric(t *testing.T) {
	t.Parallel()
	r := serve(t, 0)
	client := externalscaler.NewExternalScalerClient(r.conn)
	spec, err := client.GetMetricSpec(t.Context(), ref("shop"))
	if err != nil {
		t.Fatal(err)
	}
	want := &externalscaler.GetMetricSpecResponse{MetricSpecs: []*externalscaler.MetricSpec{{MetricName: "foreshadow-instances", TargetSize: 1, TargetSizeFloat: 1}}}
	if diff := cmp.Diff(want, spec, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for i, instances := range []int32{7, 0, 1} {
		r.post("shop", uint64(i+1), instances)
		for _, object := range []*externalscaler.ScaledObjectRef{ref("shop"), {Name: "shop"}} {
			resp, err := client.GetMetrics(t.Context(), &externalscaler.GetMetricsRequest{ScaledObjectRef: object, MetricName: "foreshadow-instances"})
			if err != nil {
				t.Fatal(err)
			}
			v := resp.GetMetricValues()
			if len(v) != 1 || v[0].GetMetricValue() != int64(instances) || v[0].GetMetricValueFloat() != float64(instances) || math.IsNaN(v[0].GetMetricValueFloat()) {
				t.Errorf("metric %v, want %d in both fields", v, instances)
			}
			active, err := client.IsActive(t.Context(), object)
			if err != nil || active.GetResult() != (instances > 0) {
				t.Errorf("active %v, %v with %d instances", active.GetResult(), err, instances)
			}
		}
	}
}

func TestKEDAGetsNoNumberThatMayNotBeUsed(t *testing.T) {
	t.Parallel()
	r := serve(t, 0)
	client := externalscaler.NewExternalScalerClient(r.conn)
	r.post("shop", 1, 7)
	r.clock.set(epoch.Add(time.Minute)) // the recommendation expires now
	for workload, want := range map[string]codes.Code{"shop": codes.Unavailable, "bank": codes.Unavailable, "nobody": codes.NotFound} {
		if _, err := client.GetMetrics(t.Context(), &externalscaler.GetMetricsRequest{ScaledObjectRef: ref(workload)}); status.Code(err) != want {
			t.Errorf("metrics of %s: %v, want %v", workload, err, want)
		}
		if _, err := client.IsActive(t.Context(), ref(workload)); status.Code(err) != want {
			t.Errorf("activity of %s: %v, want %v", workload, err, want)
		}
	}
	r.clock.set(epoch)
	for i, production := range []*foreshadowv1.Sizing{nil, {Instances: -1}} {
		r.board.Post(&foreshadowv1.Recommendation{
			Workload: "shop", Generation: uint64(i + 2), Production: production, ExpireTime: timestamppb.New(epoch.Add(time.Minute)),
		})
		if resp, err := client.IsActive(t.Context(), ref("shop")); status.Code(err) != codes.Unavailable {
			t.Errorf("no number of instances is taken for %v, %v", resp, err)
		}
	}
	if _, err := client.GetMetricSpec(t.Context(), ref("nobody")); status.Code(err) != codes.NotFound {
		t.Errorf("spec of nobody: %v", err)
	}
	if _, err := client.GetMetrics(t.Context(), &externalscaler.GetMetricsRequest{ScaledObjectRef: ref("shop"), MetricName: "cpu"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("another metric: %v", err)
	}
}

func TestKEDAsStreamTellsChangesAndRepeats(t *testing.T) {
	t.Parallel()
	for name, resend := range map[string]time.Duration{"changes": time.Hour, "repeats": time.Millisecond} {
		r := serve(t, resend)
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := externalscaler.NewExternalScalerClient(r.conn).StreamIsActive(ctx, ref("shop"))
		if err != nil {
			t.Fatal(err)
		}
		next := func() bool {
			t.Helper()
			m, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			return m.GetResult()
		}
		r.post("shop", 1, 3)
		if !next() {
			t.Errorf("%s: the first state is not active", name)
		}
		if name == "repeats" {
			for range 3 {
				if !next() {
					t.Errorf("%s: another state was repeated", name)
				}
			}
		}
		r.post("shop", 2, 5) // no change of state
		r.post("shop", 3, 0)
		for active := next(); active; active = next() {
			if name == "changes" {
				t.Errorf("%s: told the same state twice", name)
			}
		}
		r.post("shop", 4, 1)
		for active := next(); !active; active = next() {
			if name == "changes" {
				t.Errorf("%s: told the same state twice", name)
			}
		}
		cancel()
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.Canceled {
			t.Errorf("%s: ended with %v", name, err)
		}
	}
}

func TestKEDAsStreamIsSilentOnceExpired(t *testing.T) {
	t.Parallel()
	r := serve(t, time.Millisecond)
	r.post("shop", 1, 0)
	stream, err := externalscaler.NewExternalScalerClient(r.conn).StreamIsActive(t.Context(), ref("shop"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetResult() {
		t.Fatalf("first state %v, %v", m, err)
	}
	r.clock.set(epoch.Add(time.Hour))
	r.post("shop", 2, 5) // expired already: it must not be told
	go r.stop()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) { // the clean end of a server that stops
			return
		}
		if err != nil || m.GetResult() {
			t.Fatalf("an expired recommendation was told: %v, %v", m, err)
		}
	}
}
