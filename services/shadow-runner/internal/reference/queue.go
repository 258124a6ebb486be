package reference

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// Law is c workers with one queue, first come first served.
type Law struct {
	// Workers serve one request each.
	Workers int
	// Service is the mean time of a request at a worker.
	Service time.Duration
	// Random service times are exponential, others fixed.
	Random bool
	// Draw, when it is set, draws service times of another distribution, whose mean is Service.
	Draw func(rng *rand.Rand) time.Duration
	// Shared workers serve all requests at the same time, each at an equal share of their speed and at most at that of one worker:
	// processor sharing, as of threads on cores.
	Shared bool
	// Pause is for how long nobody works, once in each Every: a collector that stops the world.
	Pause, Every time.Duration
	// Base is added to every latency and needs no worker.
	Base time.Duration
	// Delay, when it is set, is drawn and added like Base.
	Delay func(rng *rand.Rand) time.Duration
	// Refuses a request when no worker is free.
	Refuses bool
}

// Work is what a server did in a step.
type Work struct {
	// Busy is the mean number of busy workers, Peak the most at any full second.
	Busy, Peak float64
	// Answered requests per second, without those refused.
	Answered float64
	// Took is the mean time a request took a worker, waiting for one included.
	Took time.Duration
}

// visit is one request at the workers. One that was refused leaves when it came.
type visit struct {
	start, leave, need time.Duration
	refused            bool
}

// Hold plays one step in virtual time: a fixed number of requests at uniform moments, which is Poisson given its count. What it
// used of an instance is for the caller to say.
func (l Law) Hold(rng *rand.Rand, level probe.Level, slo probe.SLO) (probe.Step, Work) {
	end := level.Settle + level.Hold
	n := int(level.Rate*end.Seconds() + 0.5)
	dues := make([]time.Duration, n)
	for i := range dues {
		dues[i] = time.Duration(rng.Float64() * float64(end))
	}
	slices.Sort(dues)
	visits := l.serve(rng, dues)
	samples := make([]probe.Sample, n)
	var busy, calls, second time.Duration
	peak := 0
	for i, v := range visits {
		if dues[i] > second { // when a meter would look
			peak, second = max(peak, l.busyAt(visits[:i], dues[i])), dues[i].Truncate(time.Second)+time.Second
		}
		if v.refused {
			samples[i] = probe.Sample{Due: dues[i], Latency: time.Millisecond, Failed: true}
			continue
		}
		busy += min(v.need, max(0, end-v.start))
		calls += v.leave - dues[i]
		samples[i] = probe.Sample{Due: dues[i], Latency: v.leave - dues[i] + l.beside(rng)}
	}
	step := probe.Judge(samples, probe.Window{Start: level.Settle, End: end}, slo)
	return step, Work{busy.Seconds() / end.Seconds(), float64(peak), step.Completed * (1 - step.ErrorRatio), calls / time.Duration(max(n, 1))}
}

func (l Law) busyAt(earlier []visit, now time.Duration) int {
	n := 0
	for _, v := range earlier {
		if v.leave > now {
			n++
		}
	}
	return min(n, l.Workers)
}

// need draws a service time, beside what of a latency needs no worker.
func (l Law) need(rng *rand.Rand) time.Duration {
	switch {
	case l.Draw != nil:
		return l.Draw(rng)
	case l.Random:
		return time.Duration(rng.ExpFloat64() * float64(l.Service))
	}
	return l.Service
}

func (l Law) beside(rng *rand.Rand) time.Duration {
	if l.Delay == nil {
		return l.Base
	}
	return l.Base + l.Delay(rng)
}

// serve says when requests that come at the given moments, in order, are served. Pauses are taken out of the time before and put
// back after.
func (l Law) serve(rng *rand.Rand, dues []time.Duration) []visit {
	var phase time.Duration
	if l.Pause > 0 {
		phase = time.Duration(rng.Float64() * float64(l.Every))
	}
	visits := make([]visit, len(dues))
	line := l.line
	if l.Shared {
		line = l.share
	}
	line(rng, func(i int) time.Duration { return l.worked(dues[i] + phase) }, visits)
	for i := range visits {
		v := &visits[i]
		v.start, v.leave = max(dues[i], l.inTime(v.start)-phase), max(dues[i], l.inTime(v.leave)-phase)
	}
	return visits
}

// worked is how much of the time until t nobody paused.
func (l Law) worked(t time.Duration) time.Duration {
	if l.Pause == 0 {
		return t
	}
	return t/l.Every*(l.Every-l.Pause) + max(0, t%l.Every-l.Pause)
}

// inTime is when so much was worked.
func (l Law) inTime(worked time.Duration) time.Duration {
	if l.Pause == 0 {
		return worked
	}
	each := l.Every - l.Pause
	return worked/each*l.Every + l.Pause + worked%each
}

// line is one queue before all workers.
func (l Law) line(rng *rand.Rand, due func(i int) time.Duration, visits []visit) {
	free := make([]time.Duration, l.Workers)
	for i := range visits {
		came, first := due(i), 0
		for w := range free {
			if free[w] < free[first] {
				first = w
			}
		}
		if l.Refuses && free[first] > came {
			visits[i] = visit{start: came, leave: came, refused: true}
			continue
		}
		at, need := max(came, free[first]), l.need(rng)
		free[first] = at + need
		visits[i] = visit{start: at, leave: at + need, need: need}
	}
}

// share serves all at once. What each has had so far is the same for all that are there, so the next to leave is the one whose
// need, on top of what others had when it came, is least.
func (l Law) share(rng *rand.Rand, due func(i int) time.Duration, visits []visit) {
	var there leaving
	now, had := 0.0, 0.0 // in seconds; had by one that was there from the beginning
	until := func(end float64) {
		for len(there) > 0 {
			speed := min(1, float64(l.Workers)/float64(len(there)))
			at := now + (there[0].had-had)/speed
			if at > end {
				had += (end - now) * speed
				break
			}
			now, had = at, there[0].had
			visits[heap.Pop(&there).(sharer).i].leave = time.Duration(at * float64(time.Second))
		}
		now = max(now, end)
	}
	for i := range visits {
		came, need := due(i), l.need(rng)
		until(came.Seconds())
		visits[i] = visit{start: came, need: need}
		heap.Push(&there, sharer{i, had + need.Seconds()})
	}
	for len(there) > 0 {
		until(now + time.Hour.Seconds())
	}
}

// sharer is a request that leaves once each that is there has had so much.
type sharer struct {
	i   int
	had float64
}

type leaving []sharer

func (q leaving) Len() int           { return len(q) }
func (q leaving) Less(i, j int) bool { return q[i].had < q[j].had }
func (q leaving) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *leaving) Push(x any)        { *q = append(*q, x.(sharer)) }

func (q *leaving) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
