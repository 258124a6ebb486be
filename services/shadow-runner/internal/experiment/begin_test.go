package experiment_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
)

// begun is what one of several callers got.
type begun struct {
	id  string
	err error
}

// createAtOnce asks every store at the same moment.
func createAtOnce(t *testing.T, stores []*experiment.Store, ask func(i int) *foreshadowv1.CreateExperimentRequest) []begun {
	t.Helper()
	out := make([]begun, len(stores))
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			resp, err := s.CreateExperiment(t.Context(), ask(i))
			out[i] = begun{resp.GetExperiment().GetExperimentId(), err}
		})
	}
	wg.Wait()
	return out
}

// meet lets the first n records be written only when all of them are about to be: their stores know nothing of each other's.
func (m *memory) meet(n int) {
	var all sync.WaitGroup
	all.Add(n)
	var came atomic.Int64
	m.before = func() {
		if came.Add(1) <= int64(n) {
			all.Done()
			all.Wait()
		}
	}
}

// all are the experiments that a store knows.
func all(t *testing.T, s *experiment.Store) []*foreshadowv1.Experiment {
	t.Helper()
	resp, err := s.ListExperiments(t.Context(), &foreshadowv1.ListExperimentsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetExperiments()
}

// A call that is retried at another runner while the first still tries makes one experiment, and both answer with it.
func TestOneRequestAtManyRunnersBeginsOneExperiment(t *testing.T) {
	t.Parallel()
	log := &memory{}
	stores := []*experiment.Store{log.join(), log.join(), log.join()}
	for round := 1; round <= 10; round++ {
		log.meet(len(stores))
		got := createAtOnce(t, stores, func(int) *foreshadowv1.CreateExperimentRequest { return request("shop", fmt.Sprint(round)) })
		for _, g := range got {
			if g.err != nil || g.id != got[0].id {
				t.Fatalf("round %d: %+v", round, got)
			}
		}
		for i, s := range append(stores, log.join()) {
			if list := all(t, s); len(list) != round || list[0].GetExperimentId() != got[0].id {
				t.Errorf("round %d: store %d knows %d experiments", round, i, len(list))
			}
		}
		take(t, stores[0])
		finish(t, stores[0], got[0].id, "")
	}
}

// Of calls that ask for an experiment each one is answered with it, and the others are told that it is running.
func TestOneOfManyCallsAtOnceBeginsAnExperiment(t *testing.T) {
	t.Parallel()
	workloads := []string{"shop", "blog", "shop"} // one runs at a time, whichever workload it is of
	for name, id := range map[string]func(i int) string{
		"without a request_id": func(int) string { return "" },
		"with one each":        func(i int) string { return fmt.Sprint(i) },
	} {
		for round := range 5 {
			log := &memory{}
			stores := []*experiment.Store{log.join(), log.join(), log.join()}
			log.meet(len(stores))
			winner, refused := "", 0
			for _, g := range createAtOnce(t, stores, func(i int) *foreshadowv1.CreateExperimentRequest { return request(workloads[i], id(i)) }) {
				if status.Code(rpc.Status(g.err)) == codes.ResourceExhausted {
					refused++
				} else if winner = g.id; g.err != nil {
					t.Errorf("%s, round %d: %v", name, round, g.err)
				}
			}
			for i, s := range append(stores, log.join()) {
				if list := all(t, s); refused != 2 || len(list) != 1 || list[0].GetExperimentId() != winner {
					t.Errorf("%s, round %d: %q was begun, %d were refused, store %d knows %v", name, round, winner, refused, i, list)
				}
			}
			if _, err := stores[1].CancelExperiment(t.Context(), &foreshadowv1.CancelExperimentRequest{ExperimentId: winner}); err != nil {
				t.Fatal(err)
			}
			// What was refused is not known by its request_id, and can be asked for again.
			for i, s := range stores {
				if next := create(t, s, workloads[i], id(i)); next.GetState() == running {
					if _, err := s.CancelExperiment(t.Context(), &foreshadowv1.CancelExperimentRequest{ExperimentId: next.GetExperimentId()}); err != nil {
						t.Fatal(err)
					}
				} else if next.GetExperimentId() != winner {
					t.Errorf("%s, round %d: asked again at store %d: %v", name, round, i, next)
				}
			}
		}
	}
}

// The runner that is asked may know no traffic; the one that carries the experiment out knows production's rate.
func TestTheRateIsOfWhoTakesAnExperimentWhenNobodyElseKnewIt(t *testing.T) {
	t.Parallel()
	log := &memory{}
	rate := 0.0
	s := experiment.NewStore(experiment.Options{
		Check: func(string) (float64, error) { return rate, nil }, Log: log, Runner: "r", Now: log.time, Lease: time.Minute,
	})
	s.Recalled()
	log.stores = append(log.stores, s)
	resp, err := s.CreateExperiment(t.Context(), matrix())
	if err != nil || resp.GetExperiment().GetProductionRequestsPerSecond() != 0 {
		t.Fatalf("created as %v, %v", resp, err)
	}
	rate = 60
	job, _ := take(t, s)
	if job.Cells[0].Rate != 60 || get(t, s, job.ID).GetProductionRequestsPerSecond() != 60 {
		t.Errorf("cells at %v requests/s of %v", job.Cells[0].Rate, get(t, s, job.ID))
	}
	rate = 90 // production goes on, and what the loads are multiples of does not
	heir := log.join()
	log.pass(time.Minute)
	if job, _ := take(t, heir); job.Cells[0].Rate != 60 {
		t.Errorf("the heir holds %v requests/s", job.Cells[0].Rate)
	}
}
