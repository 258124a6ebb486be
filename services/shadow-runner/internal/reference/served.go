package reference

import (
	"math/rand/v2"
	"time"
)

// Served is what a server really did, as it saw it itself. A machine that is busy gives no law to the letter: what was measured is
// held against the law that the server followed.
type Served struct {
	// Took is for how long each of the last requests had a worker, Late how much later than the law says it was answered.
	Took, Late []time.Duration
	// next of either is replaced.
	next int
}

// mostServed bounds the memory.
const mostServed = 20_000

func (s *Served) note(took, late time.Duration) {
	if len(s.Took) < mostServed {
		s.Took, s.Late = append(s.Took, took), append(s.Late, late)
		return
	}
	s.Took[s.next], s.Late[s.next] = took, late
	s.next = (s.next + 1) % mostServed
}

// Law is the one that the server followed: service times are those that were, one after another from any of them on, for a slow moment
// of the machine makes many long; and so is how late answers were.
func (s Served) Law(r Real) Law {
	l := r.Law
	if len(s.Took) == 0 {
		return l
	}
	if r.Connections { // a late answer keeps its connection
		l.Service = mean(s.Took) + mean(s.Late)
		return l
	}
	if l.Refuses {
		return l // by the schedule, whatever the answers
	}
	if r.Burn {
		l.Service = mean(s.Took)
		l.Draw = replay(s.Took)
		return l
	}
	l.Delay = replay(s.Late)
	return l
}

func replay(list []time.Duration) func(*rand.Rand) time.Duration {
	next := -1
	return func(rng *rand.Rand) time.Duration {
		if next < 0 {
			next = rng.IntN(len(list))
		}
		next = (next + 1) % len(list)
		return list[next]
	}
}

// MeanTook is for how long a request had a worker, MeanLate how late it was answered.
func (s Served) MeanTook() time.Duration { return mean(s.Took) }

// MeanLate is said with MeanTook.
func (s Served) MeanLate() time.Duration { return mean(s.Late) }

func mean(list []time.Duration) time.Duration {
	var sum time.Duration
	for _, d := range list {
		sum += d
	}
	return sum / time.Duration(max(1, len(list)))
}
