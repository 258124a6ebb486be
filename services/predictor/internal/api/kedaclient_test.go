package api_test

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/foreshadow/foreshadow/libs/scaling/hpa"
	"github.com/foreshadow/foreshadow/proto/externalscaler"
)

// operator behaves like KEDA 2.21 with one ScaledObject of one external-push trigger, and like the HPA that KEDA makes for
// it; written after pkg/scalers/external_scaler.go, pkg/scaling/executor and pkg/fallback of kedacore/keda. What KEDA does
// on timers is done when the test says so, but for the waits of its streams, which are a thousandth as long.
type operator struct {
	client externalscaler.ExternalScalerClient
	conn   *grpc.ClientConn
	object *externalscaler.ScaledObjectRef
	hpa    hpa.Calculator
	max    int
	// fallback is nil where the ScaledObject has none.
	fallback *fallback

	mu       sync.Mutex
	replicas int
	failures int
	target   float64
	waits    []time.Duration // of runStreamIsActive, at KEDA's own length
	told     []bool
	specs    int
	news     chan struct{} // one may wait: something came over a stream, or it ended
}

// fallback is spec.fallback with the behaviour currentReplicasIfHigher.
type fallback struct{ failureThreshold, replicas int }

// haste is by how much the waits of the streams are shorter than KEDA's.
const haste = 1000

// newOperator dials as KEDA does: round_robin, gRPC's own backoff, no deadline, no token.
func newOperator(address string, creds credentials.TransportCredentials) (*operator, error) {
	conn, err := grpc.NewClient(address,
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin":{}}]}`), grpc.WithTransportCredentials(creds))
	if err != nil {
		return nil, err
	}
	return &operator{
		client: externalscaler.NewExternalScalerClient(conn), conn: conn, hpa: hpa.DefaultCalculator(), max: 100, news: make(chan struct{}, 1),
		object: &externalscaler.ScaledObjectRef{Name: "web", Namespace: "shop", ScalerMetadata: map[string]string{
			"scalerAddress": address, "workload": "shop",
		}},
	}, nil
}

// number is KEDA's rule for metric values and targets alike: the float wins only above 0, and what is no number, infinite
// or negative counts as 0.
func number(integer int64, float float64) float64 {
	v := float64(integer)
	if float > 0 {
		v = float
	}
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0
	}
	return v
}

// metricsAndActivity is GetMetricsAndActivity: two calls, and an error of either is an error.
func (o *operator) metricsAndActivity(ctx context.Context) (value float64, active bool, err error) {
	m, err := o.client.GetMetrics(ctx, &externalscaler.GetMetricsRequest{ScaledObjectRef: o.object, MetricName: "foreshadow-instances"})
	if err != nil {
		return 0, false, err
	}
	for _, v := range m.GetMetricValues() {
		value += number(v.GetMetricValue(), v.GetMetricValueFloat())
	}
	a, err := o.client.IsActive(ctx, o.object)
	if err != nil {
		return 0, false, err
	}
	return value, a.GetResult(), nil
}

// poll is one pollingInterval, with the cooldownPeriod over: it decides between 0 and 1.
func (o *operator) poll(ctx context.Context) error {
	_, active, err := o.metricsAndActivity(ctx)
	o.requestScale(active, err != nil)
	return err
}

// requestScale is the executor's.
func (o *operator) requestScale(active, isError bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case active && o.replicas == 0:
		o.replicas = 1
	case active:
	case isError && (o.fallback == nil || o.fallback.replicas != 0): // changes nothing
	case o.replicas > 0:
		o.replicas = 0
	}
}

// sync is one period of the HPA, which asks KEDA for the metric. It rests while there are no replicas.
func (o *operator) sync(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.replicas == 0 {
		return nil
	}
	if o.target == 0 {
		spec, err := o.client.GetMetricSpec(ctx, o.object)
		if err != nil {
			return err
		}
		o.target = number(spec.GetMetricSpecs()[0].GetTargetSize(), spec.GetMetricSpecs()[0].GetTargetSizeFloat())
	}
	value, _, err := o.metricsAndActivity(ctx)
	if err != nil {
		o.failures++
		if o.fallback == nil || o.failures <= o.fallback.failureThreshold {
			return err // no metric: the HPA holds
		}
		value = float64(max(o.replicas, o.fallback.replicas)) * o.target
	} else {
		o.failures = 0
	}
	const milli = 1000
	wish, _, err := o.hpa.Replicas(o.replicas, hpa.Metric{
		Kind: hpa.ExternalAverage, Target: int64(o.target * milli), External: []int64{int64(value * milli)},
	})
	if err != nil {
		return err
	}
	o.replicas = min(max(wish, 1), o.max)
	return nil
}

func (o *operator) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.replicas
}

// run is externalPushScaler.Run: both streams, until ctx ends. Only a clean end makes the next wait short again.
func (o *operator) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		o.retry(ctx, func() bool { return errors.Is(o.streamIsActive(ctx), io.EOF) }, func(d time.Duration) {
			o.mu.Lock()
			o.waits = append(o.waits, d)
			o.mu.Unlock()
			o.tell()
		})
	})
	wg.Go(func() {
		o.retry(ctx, func() bool { return errors.Is(o.streamMetricSpec(ctx), io.EOF) }, func(time.Duration) {})
	})
	wg.Wait()
}

func (o *operator) retry(ctx context.Context, once func() (clean bool), note func(time.Duration)) {
	for wait := 2 * time.Second; ; wait = min(2*wait, time.Minute) {
		if once() {
			wait = 2 * time.Second
		}
		note(wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait / haste):
		}
	}
}

func (o *operator) streamIsActive(ctx context.Context) error {
	stream, err := o.client.StreamIsActive(ctx, o.object)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetResult() { // what is inactive is left to the polls
			o.requestScale(true, false)
		}
		o.mu.Lock()
		o.told = append(o.told, m.GetResult())
		o.mu.Unlock()
		o.tell()
	}
}

func (o *operator) streamMetricSpec(ctx context.Context) error {
	stream, err := o.client.StreamMetricSpec(ctx, o.object)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		o.mu.Lock()
		o.target = number(m.GetMetricSpecs()[0].GetTargetSize(), m.GetMetricSpecs()[0].GetTargetSizeFloat())
		o.specs++
		o.mu.Unlock()
		o.tell()
	}
}

func (o *operator) tell() {
	select {
	case o.news <- struct{}{}:
	default:
	}
}
