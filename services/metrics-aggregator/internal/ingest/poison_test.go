package ingest_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

func TestPoisonIsNamedAndCommitsNothing(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	sink := newSink(t, pool)
	good := observed(rand.New(rand.NewPCG(1, 9)), "shop", epoch)
	for fault, c := range map[string]struct {
		spoil func(*foreshadowv1.MetricsObserved)
		want  string
	}{
		"no workload":        {func(o *foreshadowv1.MetricsObserved) { o.Workload = "" }, "workload"},
		"zero byte":          {func(o *foreshadowv1.MetricsObserved) { o.Workload = "a\x00b" }, "workload"},
		"no environment":     {func(o *foreshadowv1.MetricsObserved) { o.Environment = 0 }, "environment"},
		"foreign":            {func(o *foreshadowv1.MetricsObserved) { o.Environment = 7 }, "environment"},
		"no start":           {func(o *foreshadowv1.MetricsObserved) { o.StartTime = nil }, "start_time"},
		"too old":            {func(o *foreshadowv1.MetricsObserved) { o.StartTime = timestamppb.New(epoch.AddDate(0, -2, 0)) }, "retention"},
		"ahead":              {func(o *foreshadowv1.MetricsObserved) { o.StartTime = timestamppb.New(epoch.AddDate(1, 0, 0)) }, "ahead"},
		"no duration":        {func(o *foreshadowv1.MetricsObserved) { o.DurationSeconds = 0 }, "duration_seconds"},
		"NaN duration":       {func(o *foreshadowv1.MetricsObserved) { o.DurationSeconds = math.NaN() }, "duration_seconds"},
		"longer than window": {func(o *foreshadowv1.MetricsObserved) { o.DurationSeconds = 5 }, "duration_seconds"},
		"spans windows": {func(o *foreshadowv1.MetricsObserved) {
			o.StartTime = timestamppb.New(epoch.Add(600 * time.Millisecond))
			o.DurationSeconds = 0.5
		}, "spans more than one window"},
		"lag":          {func(o *foreshadowv1.MetricsObserved) { o.MaxLagSeconds = math.Inf(1) }, "max_lag_seconds"},
		"long route":   {func(o *foreshadowv1.MetricsObserved) { o.Traffic = traffic1(strings.Repeat("x", 5000), 1) }, "route"},
		"huge counter": {func(o *foreshadowv1.MetricsObserved) { o.Traffic = traffic1("GET /", math.MaxUint64) }, "beyond belief"},
		"confidence": {func(o *foreshadowv1.MetricsObserved) {
			o.Confidence = &foreshadowv1.SampleConfidence{Responses: 1, MixHalfWidthSum: math.NaN()}
		}, "mix_half_width_sum"},
		"wider than all": {func(o *foreshadowv1.MetricsObserved) {
			o.Confidence = &foreshadowv1.SampleConfidence{Responses: 1, MixHalfWidthSum: 2}
		}, "cannot be"},
		"huge figure": {func(o *foreshadowv1.MetricsObserved) {
			o.Confidence = &foreshadowv1.SampleConfidence{Responses: 1, DesignEffectSum: math.MaxFloat64}
		}, "beyond belief"},
		"sketch": {func(o *foreshadowv1.MetricsObserved) {
			o.Traffic = traffic1("GET /", 1)
			o.Traffic[0].Latency = &foreshadowv1.LatencySketch{RelativeAccuracy: 0.5}
		}, "relative accuracy"},
		"endless latencies": {func(o *foreshadowv1.MetricsObserved) {
			o.Traffic = traffic1("GET /", 1)
			o.Traffic[0].Latency = &foreshadowv1.LatencySketch{RelativeAccuracy: metric.Accuracy, Indices: []int32{0}, Counts: []uint64{1}, SumSeconds: math.MaxFloat64, MaxSeconds: 1}
		}, "beyond belief"},
		"huge bucket": {func(o *foreshadowv1.MetricsObserved) {
			o.Traffic = traffic1("GET /", 1)
			o.Traffic[0].Latency = &foreshadowv1.LatencySketch{RelativeAccuracy: metric.Accuracy, Indices: []int32{0}, Counts: []uint64{math.MaxUint64}, SumSeconds: 1, MaxSeconds: 1}
		}, "beyond belief"},
	} {
		bad := observed(rand.New(rand.NewPCG(2, 9)), "shop", epoch)
		c.spoil(bad)
		err := sink.HandleChunk(t.Context(), chunkOf(0, kafka.OffsetEarliest, record(t, good, "a", 0), record(t, bad, "a", 1)))
		var poison *kafka.PoisonError
		if !errors.As(err, &poison) || len(poison.Records) != 1 || poison.Records[0].Offset != 1 || !strings.Contains(poison.Records[0].Reason, c.want) {
			t.Errorf("%s: %v, want offset 1 set aside because of %q", fault, err, c.want)
		}
	}
	if got, _ := stored(t, pool, "shop"); len(got) != 0 {
		t.Errorf("a chunk with poison left %d windows", len(got))
	}
	if l := sink.Ledger(); !l.Balanced() || l.Dropped["poison"] != 20 || l.Passed != 0 {
		t.Errorf("ledger %+v, want 20 poisoned", l)
	}
}

// TestAClockThatIsOffSetsNothingAside: neither one that is a year ahead, nor one that has stood still for a year.
func TestAClockThatIsOffSetsNothingAside(t *testing.T) {
	t.Parallel()
	for _, years := range []int{1, -1} {
		pool := newPool(t)
		sink := newSinkAt(t, pool, epoch.AddDate(years, 0, 0))
		handle(t, sink, chunkOf(0, kafka.OffsetEarliest, record(t, observed(rand.New(rand.NewPCG(1, 9)), "shop", epoch), "a", 0)))
		if got, _ := stored(t, pool, "shop"); len(got) != 1 {
			t.Errorf("%d years off: %d windows", years, len(got))
		}
		decisions := chunkOf(0, kafka.OffsetEarliest, record(t, &foreshadowv1.Recommendation{Workload: "shop", CreateTime: timestamppb.New(epoch)}, "p", 1))
		decisions.Topic = kafka.TopicScalingRecommended
		handle(t, sink, decisions)
	}
}

// TestWhatIsMergedCanBeReadAgain: a window that cannot be read back would hold up its partition, and its history, for ever.
func TestWhatIsMergedCanBeReadAgain(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	sink := newSink(t, pool)
	var records []kafka.Record
	for i := range 40 {
		o := observed(rand.New(rand.NewPCG(1, 9)), "shop", epoch)
		o.Traffic = traffic1("GET /", 1)
		// As much as one observation may say.
		o.Traffic[0].Latency = &foreshadowv1.LatencySketch{
			RelativeAccuracy: metric.Accuracy, Indices: []int32{0}, Counts: []uint64{1 << 48}, SumSeconds: 1e100, MaxSeconds: math.MaxFloat64,
		}
		records = append(records, record(t, o, "a", uint64(i)))
	}
	handle(t, sink, chunkOf(0, kafka.OffsetEarliest, records[:20]...))
	handle(t, sink, chunkOf(0, 20, records[20:]...))
	got, revisions := stored(t, pool, "shop")
	for k, w := range got {
		if sketch, err := metric.SketchFromProto(w.GetStrata()[0].GetLatency()); err != nil || sketch.Count() != 40<<48 || revisions[k] != 2 {
			t.Errorf("window %s: %v latencies in revision %d, %v", k, sketch.Count(), revisions[k], err)
		}
	}
	if len(got) != 1 {
		t.Errorf("%d windows", len(got))
	}
}

func traffic1(route string, requests uint64) []*foreshadowv1.Traffic {
	return []*foreshadowv1.Traffic{{Stratum: &foreshadowv1.Stratum{Route: route}, Requests: requests}}
}

func TestDecisionsAreStoredOncePerEvent(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	sink := newSink(t, pool)
	first := record(t, &foreshadowv1.Recommendation{Workload: "shop", RecommendationId: "r1", CreateTime: timestamppb.New(epoch)}, "p", 1)
	second := record(t, &foreshadowv1.Recommendation{Workload: "shop", RecommendationId: "r2", CreateTime: timestamppb.New(epoch)}, "p", 2)
	chunk := chunkOf(0, kafka.OffsetEarliest, first, second, first)
	chunk.Topic = kafka.TopicScalingRecommended
	handle(t, sink, chunk)
	// The broker lost its log and the producer sent it all again: other offsets, the same ids.
	chunk = chunkOf(1, kafka.OffsetEarliest, second, first)
	chunk.Topic = kafka.TopicScalingRecommended
	handle(t, sink, chunk)
	var n int
	if err := pool.QueryRow(t.Context(), "select count(*) from recommendation").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d recommendations, %v, want 2", n, err)
	}
	chunk = chunkOf(2, kafka.OffsetEarliest, record(t, &foreshadowv1.Recommendation{RecommendationId: "r3"}, "p", 3))
	chunk.Topic = kafka.TopicScalingRecommended
	var poison *kafka.PoisonError
	if err := sink.HandleChunk(t.Context(), chunk); !errors.As(err, &poison) {
		t.Errorf("a recommendation for nobody: %v, want poison", err)
	}
}
