package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/stack"
)

// importHistory loads the earlier days of the trace: as observations, through the broker and the aggregator, the way
// everything goes. It returns when the HistoryService gives all of them back.
func (d *run) importHistory(ctx context.Context, s *stack.Stack) error {
	from, to := d.clock.historyStart(), time.Now().Truncate(time.Second).Add(-time.Second)
	n := int(to.Sub(from) / time.Second)
	d.say("Loading %.1f earlier days of the same trace as history (%d windows of 1 s) ...", float64(to.Sub(from))/float64(d.Day), n)
	cfg := kafka.DefaultPublisherConfig()
	cfg.Kafka = kafka.Default()
	cfg.Kafka.Brokers = []string{s.Listen(stack.Broker)}
	cfg.Topic, cfg.Source = kafka.TopicMetricsObserved, "/import"
	publisher, err := kafka.NewPublisher[*foreshadowv1.MetricsObserved](cfg)
	if err != nil {
		return err
	}
	publishing, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- publisher.Run(publishing) }()
	src := rand.NewPCG(2, 3)
	for i := range n {
		at := from.Add(time.Duration(i) * time.Second)
		// What was counted in a second is Poisson around its rate, as the live traffic is.
		requests := uint64(distuv.Poisson{Lambda: d.clock.rate(at), Src: src}.Rand())
		publisher.Publish(workloadName, &foreshadowv1.MetricsObserved{
			Workload: workloadName, Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, Source: "import",
			StartTime: timestamppb.New(at), DurationSeconds: 1,
			// Without a stratum: which routes they went to is not known.
			Traffic: []*foreshadowv1.Traffic{{Requests: requests, Responses: requests}},
		})
	}
	err = publisher.Flush(ctx)
	stop()
	if err := errors.Join(err, <-done); err != nil {
		return fmt.Errorf("publish history: %w", err)
	}
	return awaitWindows(ctx, s.Listen(stack.Aggregator), from, to, n)
}

func awaitWindows(ctx context.Context, address string, from, to time.Time, n int) error {
	conn, err := rpc.Dial(address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	client := foreshadowv1.NewHistoryServiceClient(conn)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		resp, err := client.QueryWindows(ctx, &foreshadowv1.QueryWindowsRequest{
			Workload: workloadName, Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION,
			Kind: foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC, StartTime: timestamppb.New(from), EndTime: timestamppb.New(to),
			TotalsOnly: true, PageSize: 10000,
		})
		if err == nil && len(resp.GetWindows()) == n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("load history: %d of %d windows came back: %w", len(resp.GetWindows()), n, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
