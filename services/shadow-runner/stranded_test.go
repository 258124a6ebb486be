package shadowrunner_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

// TestAnExperimentOnAWorkloadThatIsGoneHoldsUpNoOther: there is one experiment at a time, and nobody can carry that one out.
func TestAnExperimentOnAWorkloadThatIsGoneHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r := start(t, referencetest.New(t, 4, 0), func(w *workload.Workload) {
		w.SLO.Latency, w.Replay.Timeout = 10*time.Second, 20*time.Second // held on a busy machine, too
	})
	r.refusesExperiments()
	gone := &foreshadowv1.Experiment{
		ExperimentId: "11111111-2222-3333-4444-555555555555", Workload: "gone", Amplifications: []float64{1}, HoldSeconds: 1, Revision: 1,
		ChangeId: "1", State: foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING, CreateTime: timestamppb.New(time.Now().Add(-time.Hour)),
	}
	value, err := proto.Marshal(gone)
	if err != nil {
		t.Fatal(err)
	}
	r.send(kafka.RawMessage{Topic: kafka.TopicExperimentRecorded, Key: gone.GetExperimentId(), Value: value, Meta: kafka.Meta{
		ID: "old/1", Type: "foreshadow.v1.Experiment", Source: "/shadow-runner", Time: time.Now(), ProducerID: "old", Sequence: 1,
	}})
	r.traffic()
	r.experiment("on another", 1)
}
