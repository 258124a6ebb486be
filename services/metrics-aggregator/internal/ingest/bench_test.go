package ingest_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// BenchmarkMerge commits chunks of observations with 12 strata each to a real PostgreSQL. A chunk of 1 is live operation,
// one window per second; a chunk of 500 is catching up or importing.
func BenchmarkMerge(b *testing.B) {
	strata := metric.Strata{}
	for i := range 12 {
		c := strata.At(traffic.Stratum{Route: fmt.Sprintf("GET /%d", i), Geography: "DE", Device: "mobile", Network: "wifi"})
		for j := range 20 {
			c.Requests++
			c.Latency.Add(0.01 * float64(1+j))
		}
	}
	for _, size := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("chunk=%d", size), func(b *testing.B) {
			sink := newSink(b, newPool(b))
			from, sequence := kafka.OffsetEarliest, uint64(0)
			chunk := func() kafka.Chunk {
				records := make([]kafka.Record, size)
				for i := range records {
					records[i] = record(b, &foreshadowv1.MetricsObserved{
						Workload: "shop", Environment: foreshadowv1.Environment_ENVIRONMENT_PRODUCTION,
						StartTime: timestamppb.New(epoch.Add(time.Duration(sequence) * time.Second).Add(-20 * 24 * time.Hour)), DurationSeconds: 1, Traffic: strata.Proto(),
					}, "bench", sequence)
					sequence++
				}
				return chunkOf(0, from, records...)
			}
			for b.Loop() {
				b.StopTimer()
				c := chunk()
				b.StartTimer()
				if err := sink.HandleChunk(b.Context(), c); err != nil {
					b.Fatal(err)
				}
				from = c.Next
			}
			b.ReportMetric(float64(sequence)/b.Elapsed().Seconds(), "observations/s")
		})
	}
}
