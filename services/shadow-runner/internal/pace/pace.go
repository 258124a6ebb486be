// Package pace waits for moments more exactly than the runtime's timers do: on Linux an idle Go program wakes up to a
// millisecond late, because its poller counts in milliseconds. An open-loop generator that is late by itself would blame
// the shadow for it.
package pace

import (
	"context"
	"time"
)

// Wait blocks until due or the end of ctx, whose error it then returns. A moment that has passed is no wait.
type Wait func(ctx context.Context, due time.Time) error

// coarse is left to the fine wait, which nothing can interrupt: longer than a timer is late, short for a shutdown.
const coarse = 2 * time.Millisecond

// Precise waits with a timer and, for the last stretch, in the kernel. On one goroutine at a time it keeps one thread busy
// with sleeping, not with spinning.
func Precise(ctx context.Context, due time.Time) error {
	if d := time.Until(due); d > coarse {
		if err := Timer(ctx, due.Add(-coarse)); err != nil {
			return err
		}
	}
	for d := time.Until(due); d > 0; d = time.Until(due) {
		nap(d)
	}
	return ctx.Err()
}

// Timer waits with the runtime's timer only.
func Timer(ctx context.Context, due time.Time) error {
	d := time.Until(due)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
