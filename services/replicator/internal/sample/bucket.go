package sample

import (
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// bucket enforces the caps: of requests and of bytes, one second's worth may come at once. It is not safe for concurrent
// use.
type bucket struct {
	rate, level [2]float64 // requests, bytes; a rate of 0 is no cap
	filled      time.Time
}

func (b *bucket) configure(s workload.Sampling) {
	rate := [2]float64{s.MaxRequests, s.MaxBytes}
	if rate != b.rate {
		b.rate, b.level = rate, rate
	}
}

// take reports whether both levels are above 0, and takes from them. A copy larger than the cap on bytes goes through when
// the bucket is full, and those after it wait for it.
func (b *bucket) take(now time.Time, bytes float64) bool {
	elapsed := max(0, now.Sub(b.filled).Seconds())
	b.filled = now
	cost := [2]float64{1, bytes}
	for i, rate := range b.rate {
		if rate > 0 {
			b.level[i] = min(max(rate, 1), b.level[i]+elapsed*rate)
			if b.level[i] < min(cost[i], max(rate, 1)) {
				return false
			}
		}
	}
	for i, rate := range b.rate {
		if rate > 0 {
			b.level[i] -= cost[i]
		}
	}
	return true
}
