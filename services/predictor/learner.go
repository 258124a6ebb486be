package predictor

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/services/predictor/internal/model"
)

const (
	retryEvery = time.Second
	// reloadEvery bounds how often old windows that keep coming make history be read anew.
	reloadEvery = 5 * time.Second
)

// learner keeps what one model knows of the past up to date, beside the decisions, which never wait for it: it reads
// history at the start until that succeeds, again when windows of the past have come, and refits the forecast.
type learner struct {
	history  history
	model    *model.Model
	workload string
	admin    *telemetry.Admin
	log      *slog.Logger
	// turns bounds how many workloads learn at once.
	turns chan struct{}
	wake  chan struct{}
	// outdated: windows came that history must be read for.
	outdated atomic.Bool
	away     bool
}

// nudge makes the learner look whether there is something to learn.
func (l *learner) nudge(outdated bool) {
	if outdated {
		l.outdated.Store(true)
	}
	if outdated || l.model.NeedsRefit() {
		signal(l.wake)
	}
}

// run learns until ctx ends.
func (l *learner) run(ctx context.Context) error {
	due := time.NewTimer(0)
	defer due.Stop()
	planned := true // reading history is due when the timer fires
	for {
		read := false
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
			read = true
		case <-l.wake:
		}
		if !l.take(ctx) {
			return nil
		}
		if read {
			planned = false
			if !l.load(ctx) {
				due.Reset(retryEvery)
				planned = true
			}
		}
		// What came before the reading is in it; what comes later waits a little for company.
		if l.outdated.Load() && !planned {
			due.Reset(reloadEvery)
			planned = true
		}
		if l.model.NeedsRefit() {
			l.model.Refit()
		}
		<-l.turns
	}
}

// take waits for this learner's turn; false when ctx ends first.
func (l *learner) take(ctx context.Context) bool {
	select {
	case l.turns <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// load reads history and reports whether that succeeded. While it cannot be read, decisions go on with what is known live.
func (l *learner) load(ctx context.Context) bool {
	part := "history of " + l.workload
	l.outdated.Store(false)
	n, err := l.history.read(ctx, l.model)
	if err == nil {
		l.away = false
		l.admin.Ready(part)
		l.log.Info("history read", "workload", l.workload, "steps", n)
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	l.admin.NotReady(part, err.Error())
	if !l.away {
		l.away = true
		l.log.Warn("history is away, deciding without it", "workload", l.workload, "err", err)
	}
	return false
}
