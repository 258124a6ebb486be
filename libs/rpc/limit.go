package rpc

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxTracked bounds the identities that are told apart; the rest share one account.
	maxTracked = 10_000
	overflow   = "others"
)

// accounts count the calls of each identity.
type accounts struct {
	limits Limits

	mu   sync.Mutex
	by   map[string]*account
	next time.Time // when it is worth looking for idle ones again
}

type account struct {
	bucket   *rate.Limiter
	inFlight int
}

func newAccounts(l Limits) *accounts { return &accounts{limits: l, by: map[string]*account{}} }

// open books a call and returns what ends it, or why it may not be made.
func (a *accounts) open(label string, now time.Time) (done func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.at(label, now)
	if acc.inFlight >= a.limits.InFlight {
		return nil, &QuotaError{Reason: "TOO_MANY_CALLS", Subject: "in_flight:" + label, Problem: "too many calls and streams are open"}
	}
	r := acc.bucket.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return nil, &QuotaError{Reason: "RATE_LIMITED", Subject: "calls_per_second:" + label, Problem: "calls come too fast", RetryAfter: wait}
	}
	acc.inFlight++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		acc.inFlight--
	}, nil
}

// at returns the account of an identity; the caller holds the lock.
func (a *accounts) at(label string, now time.Time) *account {
	if acc := a.by[label]; acc != nil {
		return acc
	}
	if len(a.by) >= maxTracked {
		a.forget(now)
	}
	if len(a.by) >= maxTracked {
		label = overflow
		if acc := a.by[label]; acc != nil {
			return acc
		}
	}
	acc := &account{bucket: rate.NewLimiter(rate.Limit(a.limits.CallsPerSecond), a.limits.Burst)}
	a.by[label] = acc
	return acc
}

// forget drops accounts that are as good as new. It walks through all of them, so at most once a second.
func (a *accounts) forget(now time.Time) {
	if now.Before(a.next) {
		return
	}
	a.next = now.Add(time.Second)
	for label, acc := range a.by {
		if acc.inFlight == 0 && acc.bucket.TokensAt(now) >= float64(a.limits.Burst) {
			delete(a.by, label)
		}
	}
}
