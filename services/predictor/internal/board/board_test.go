package board_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/predictor/internal/board"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func of(workload string, generation uint64) *foreshadowv1.Recommendation {
	return &foreshadowv1.Recommendation{Workload: workload, Generation: generation}
}

func TestTheNewestGenerationWins(t *testing.T) {
	t.Parallel()
	b := board.New()
	if got := b.Get("shop"); got != nil {
		t.Errorf("an empty board shows %v", got)
	}
	for _, generation := range []uint64{3, 5, 4, 5} {
		b.Post(of("shop", generation))
	}
	b.Post(of("bank", 1))
	if got := b.Get("shop").GetGeneration(); got != 5 {
		t.Errorf("generation %d is on the board, want 5", got)
	}
	names := make([]string, 0, 2)
	for _, r := range b.All() {
		names = append(names, r.GetWorkload())
	}
	if diff := cmp.Diff([]string{"bank", "shop"}, names); diff != "" {
		t.Errorf("all, by name (-want +got):\n%s", diff)
	}
}

func TestASlowWatcherSkipsToTheNewest(t *testing.T) {
	t.Parallel()
	b := board.New()
	for generation := range uint64(9) {
		b.Post(of("shop", generation+1))
	}
	r, err := b.Next(t.Context(), "shop", 2)
	if err != nil || r.GetGeneration() != 9 {
		t.Errorf("Next after 2 = %v, %v, want generation 9", r, err)
	}
}

func TestAPostWakesOnlyThoseWhoWaitForItsWorkload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := board.New()
		ctx, cancel := context.WithCancel(t.Context())
		shop, bank := make(chan uint64, 1), make(chan error, 1)
		go func() {
			r, _ := b.Next(ctx, "shop", 1)
			shop <- r.GetGeneration()
		}()
		go func() {
			_, err := b.Next(ctx, "bank", 0)
			bank <- err
		}()
		b.Post(of("shop", 1)) // not newer than what the watcher has
		synctest.Wait()
		if len(shop) != 0 {
			t.Error("woken by a generation it has")
		}
		b.Post(of("shop", 2))
		synctest.Wait()
		if got := <-shop; got != 2 || len(bank) != 0 {
			t.Errorf("shop's watcher got %d, bank's was woken: %v", got, len(bank) != 0)
		}
		cancel()
		if err := <-bank; !errors.Is(err, context.Canceled) {
			t.Errorf("after its context ended: %v", err)
		}
	})
}

func TestCloseEndsTheWait(t *testing.T) {
	t.Parallel()
	b := board.New()
	b.Post(of("shop", 1))
	b.Close()
	if _, err := b.Next(t.Context(), "shop", 1); !errors.Is(err, board.ErrClosed) {
		t.Errorf("Next on a closed board: %v", err)
	}
	if r, err := b.Next(t.Context(), "shop", 0); err != nil || r.GetGeneration() != 1 {
		t.Errorf("what is there can still be read: %v, %v", r, err)
	}
}

// BenchmarkPost shows that a post costs the same however many watchers of other workloads there are.
func BenchmarkPost(b *testing.B) {
	bd := board.New()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	const others = 500
	for i := range others {
		go func() {
			_, _ = bd.Next(ctx, string(rune('a'+i)), 0)
			done <- struct{}{}
		}()
	}
	for i := range b.N {
		bd.Post(of("shop", uint64(i)+1))
	}
	b.StopTimer()
	cancel()
	for range others {
		<-done
	}
}
