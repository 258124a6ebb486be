package experiment_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/experiment"
)

func cell(c experiment.Cell) *foreshadowv1.ExperimentCell {
	return &foreshadowv1.ExperimentCell{Configuration: c.Configuration.GetName(), Load: c.Load.GetName(), Result: &foreshadowv1.CapacityStep{SloMet: true}}
}

// However many runners want it at the same moment, one has it.
func TestOneOfManyRunnersTakesAnExperiment(t *testing.T) {
	t.Parallel()
	log := &memory{}
	var stores []*experiment.Store
	for range 5 {
		stores = append(stores, log.join())
	}
	for round := range 20 {
		id := create(t, stores[round%5], "shop", fmt.Sprint(round)).GetExperimentId()
		var wg sync.WaitGroup
		took := make([]bool, len(stores))
		for i, s := range stores {
			wg.Go(func() { _, _, took[i] = s.Take(t.Context(), "shop") })
		}
		wg.Wait()
		n, who := 0, 0
		for i, ok := range took {
			if ok {
				n, who = n+1, i
			}
		}
		if n != 1 {
			t.Fatalf("round %d: %d runners took it", round, n)
		}
		for i, s := range stores {
			if s.Waiting("shop") {
				t.Errorf("round %d: it waits for runner %d", round, i)
			}
		}
		finish(t, stores[who], id, "")
	}
}

// A runner that is stopped in the middle of it and wakes up after another has taken over finds that nothing it records counts.
func TestWhatAZombieRecordsDoesNotCount(t *testing.T) {
	t.Parallel()
	log := &memory{}
	zombie, heir := log.join(), log.join()
	resp, err := zombie.CreateExperiment(t.Context(), matrix())
	if err != nil {
		t.Fatal(err)
	}
	id := resp.GetExperiment().GetExperimentId()
	job, jobCtx := take(t, zombie)
	if err := zombie.RecordCell(t.Context(), id, cell(job.Cells[0]), 0.5); err != nil {
		t.Fatal(err)
	}
	log.pass(experiment.DefaultLease - 1)
	if heir.Waiting("shop") {
		t.Error("it is taken over before the lease is over")
	}
	if !heir.Elsewhere("shop") || heir.Elsewhere("other") || zombie.Elsewhere("shop") {
		t.Error("it is not only for the heir that it is carried out elsewhere")
	}
	// The zombie hears nothing any more, and does not know it.
	log.stores = log.stores[1:]
	log.pass(1)
	if heir.Elsewhere("shop") {
		t.Error("it is taken for somebody's after the lease is over")
	}
	rest, _ := take(t, heir)
	if len(rest.Cells) != 3 || jobCtx.Err() != nil {
		t.Fatalf("the heir has %d cells left, want 3; the zombie's job ended with %v", len(rest.Cells), jobCtx.Err())
	}
	late := cell(job.Cells[1])
	late.Failure = "recorded by a zombie"
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := zombie.RecordCell(ctx, id, late, 0.5); err == nil {
		t.Error("a record that was never read back is taken for one that counts")
	}
	for _, e := range log.list { // it wakes up and reads on
		zombie.Restore(e)
	}
	log.stores = append(log.stores, zombie)
	if jobCtx.Err() == nil {
		t.Error("the zombie's job goes on")
	}
	if err := zombie.RecordCell(t.Context(), id, late, 0.5); err != nil {
		t.Error(err)
	}
	if ended, err := zombie.Finish(t.Context(), id, "", ""); ended != nil || err != nil {
		t.Errorf("the zombie ends it: %v, %v", ended, err)
	}
	for _, c := range rest.Cells {
		if err := heir.RecordCell(t.Context(), id, cell(c), 0.5); err != nil {
			t.Fatal(err)
		}
	}
	finish(t, heir, id, "")
	for name, s := range map[string]*experiment.Store{"zombie": zombie, "heir": heir, "another": log.join()} {
		e := get(t, s, id)
		if e.GetState() != succeeded || len(e.GetCells()) != 4 || e.GetUsedMinutes() != 2 {
			t.Errorf("the %s knows %v", name, e)
		}
		for _, c := range e.GetCells() {
			if c.GetFailure() != "" {
				t.Errorf("the %s knows a cell of the zombie's: %v", name, c)
			}
		}
	}
}

// Who cannot renew its claim stops before anyone may take over, and goes on when it can.
func TestAClaimThatCannotBeRenewedIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &memory{}
		s := log.join()
		id := create(t, s, "shop", "r").GetExperimentId()
		_, ctx := take(t, s)
		pass := func(d time.Duration) {
			time.Sleep(d)
			log.pass(d)
		}
		for range 10 {
			pass(experiment.DefaultLease / 6)
			if err := s.Renew(t.Context()); err != nil || ctx.Err() != nil {
				t.Fatalf("renewed: %v; the job: %v", err, ctx.Err())
			}
		}
		log.away = errors.New("no broker")
		pass(experiment.DefaultLease / 2)
		if err := s.Renew(t.Context()); err == nil || ctx.Err() != nil {
			t.Errorf("not renewed: %v; the job, within the lease: %v", err, ctx.Err())
		}
		pass(experiment.DefaultLease / 3)
		if synctest.Wait(); ctx.Err() == nil {
			t.Error("the job goes on with a claim that is about to end")
		}
		log.away = nil
		_, again := take(t, s)
		if err := s.Renew(t.Context()); err != nil || again.Err() != nil {
			t.Errorf("taken again: %v, %v", err, again.Err())
		}
		s.Restore(get(t, s, id)) // a copy ends nothing
		if again.Err() != nil {
			t.Error("a copy of a record ended the job")
		}
		if err := s.Release(t.Context(), id); err != nil {
			t.Error(err)
		}
	})
}

// A runner that is stopped gives its claim up, and another goes on at once.
func TestAClaimThatIsReleasedIsFree(t *testing.T) {
	t.Parallel()
	log := &memory{}
	a, b := log.join(), log.join()
	id := create(t, a, "shop", "r").GetExperimentId()
	_, ctx := take(t, a)
	record(t, a, id, 40)
	if b.Waiting("shop") {
		t.Error("it waits while it is carried out")
	}
	if err := b.Release(t.Context(), id); err != nil || ctx.Err() != nil {
		t.Errorf("another's claim is given up: %v, %v", err, ctx.Err())
	}
	if err := a.Release(t.Context(), id); err != nil || ctx.Err() == nil {
		t.Errorf("released: %v; the job: %v", err, ctx.Err())
	}
	if job, _ := take(t, b); job.Held != 1 || len(job.Amplifications) != 1 {
		t.Errorf("the other goes on with %+v", job)
	}
	// And whoever is asked can cancel it.
	if _, err := a.CancelExperiment(t.Context(), &foreshadowv1.CancelExperimentRequest{ExperimentId: id}); err != nil || get(t, b, id).GetState() != cancelled {
		t.Errorf("cancelled: %v, %v", err, get(t, b, id))
	}
}

// follower is a store over the real topic, which it reads until the test ends.
func follower(t *testing.T, cfg kafka.Config, runner string) *experiment.Store {
	t.Helper()
	sender, err := kafka.NewSender(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := experiment.NewStore(experiment.Options{
		Check: check, Log: experiment.NewTopic(sender, "/shadow-runner", time.Now), Runner: runner, Now: time.Now,
	})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	caughtUp, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- kafka.Tail(ctx, kafka.TailConfig{Kafka: cfg, Topic: kafka.TopicExperimentRecorded, CaughtUp: func() { close(caughtUp) }}, func(r kafka.Record) error {
			var e foreshadowv1.Experiment
			if err := r.Decode(&e); err != nil {
				return fmt.Errorf("decode experiment: %w", err)
			}
			s.Restore(&e)
			return nil
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		sender.Close()
	})
	<-caughtUp
	s.Recalled()
	return s
}

// Two runners over a real broker race to begin each of several experiments, race for it, and record its cells at the same time.
func TestRunnersOverARealTopicAgree(t *testing.T) {
	t.Parallel()
	cfg := kafkatest.NewBroker(t).Config()
	if err := kafka.EnsureTopics(t.Context(), cfg, kafka.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	a, b := follower(t, cfg, "a"), follower(t, cfg, "b")
	for round := range 5 {
		ask := matrix()
		ask.RequestId = fmt.Sprint(round)
		begun := createAtOnce(t, []*experiment.Store{a, b}, func(int) *foreshadowv1.CreateExperimentRequest { return ask })
		if begun[0].err != nil || begun[1].err != nil || begun[0].id != begun[1].id {
			t.Fatalf("round %d: one request began %v", round, begun)
		}
		id := begun[0].id
		var wg sync.WaitGroup
		took := make([]bool, 2)
		for i, s := range []*experiment.Store{a, b} {
			wg.Go(func() {
				for get(t, a, id).GetRunner() == "" { // b reads of it when it does
					job, _, ok := s.Take(t.Context(), "shop")
					if !ok {
						continue
					}
					took[i] = true
					var cells sync.WaitGroup
					for _, c := range job.Cells {
						cells.Go(func() {
							if err := s.RecordCell(t.Context(), id, cell(c), 0.5); err != nil {
								t.Error(err)
							}
						})
					}
					cells.Wait()
					if ended, err := s.Finish(t.Context(), id, "", ""); err != nil || ended == nil {
						t.Errorf("finish: %v, %v", ended, err)
					}
				}
			})
		}
		wg.Wait()
		if took[0] == took[1] {
			t.Errorf("round %d: taken by %v", round, took)
		}
		for _, s := range []*experiment.Store{a, b} { // who has not read of its end yet begins no other
			for hang := time.Now().Add(time.Minute); get(t, s, id).GetState() == running; time.Sleep(time.Millisecond) {
				if time.Now().After(hang) {
					t.Fatalf("round %d: a runner never reads of the end", round)
				}
			}
		}
		late := follower(t, cfg, fmt.Sprint("late-", round))
		if e := get(t, late, id); e.GetState() != succeeded || len(e.GetCells()) != 4 || e.GetUsedMinutes() != 2 {
			t.Errorf("round %d: stands as %v", round, e)
		}
	}
}
