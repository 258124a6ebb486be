package probe

import (
	"math"
	"slices"
	"time"
)

const (
	// minCompleted is the share of the offered requests that must be completed.
	minCompleted = 0.99
	// lagQuantile of the generator's lag must stay below lagShare of the SLO's latency: a rare hiccup of the machine
	// does not move a tail, a generator that is behind all the time does.
	lagQuantile = 0.95
	lagShare    = 0.1
	// A queue grows when the second half of the window has this many times more in flight than the first, and more
	// by this share of its arrivals. Less is within what a stable queue does by itself in a short step.
	growthRatio = 1.5
	growthShare = 0.1
	// Such a queue is the generator's own when it was once behind by more than this share of half the window: what stood still
	// for so long comes all at once, to any server.
	standstill = 0.1
)

// Judge says how a load level went. Requests due while the level settles do not count. Without any request inside the
// window the step is not valid: no data is not a good latency.
func Judge(samples []Sample, w Window, slo SLO) Step {
	var in []Sample
	for _, s := range samples {
		if s.Due >= w.Start && s.Due < w.End {
			in = append(in, s)
		}
	}
	seconds := (w.End - w.Start).Seconds()
	if len(in) == 0 || seconds <= 0 {
		return Step{}
	}
	failed, completed, violations := 0, 0, 0
	latencies, lags := make([]float64, len(in)), make([]float64, len(in))
	for i, s := range in {
		latencies[i], lags[i] = s.Latency.Seconds(), s.Lag.Seconds()
		if s.Failed || s.Unanswered || s.Latency > slo.Latency {
			violations++
		}
		switch {
		case s.Unanswered:
			failed++
			latencies[i] = math.Inf(1)
			continue
		case s.Failed:
			failed++
		}
		// A request that is due at the very end may take as long as any other.
		if s.Due+s.Latency <= w.End+2*slo.Latency {
			completed++
		}
	}
	slices.Sort(latencies)
	slices.Sort(lags)
	n := len(in)
	late, wrong := bursts(in, w, slo)
	lower, upper := rankInterval(latencies, slo.Quantile, late)
	step := Step{
		LatencyLower: lower, LatencyUpper: upper, ViolationClump: late, ErrorClump: wrong, Concurrency: concurrency(in, w), Silent: silent(in, w),
		Offered: float64(n) / seconds, Completed: float64(completed) / seconds, Requests: n,
		Latency: rank(latencies, slo.Quantile), ErrorRatio: float64(failed) / float64(n), ViolationRatio: float64(violations) / float64(n), MaxLag: lags[n-1],
		Valid: rank(lags, lagQuantile) <= lagShare*slo.Latency.Seconds(),
	}
	step.Alive = slices.ContainsFunc(samples, func(s Sample) bool { return !s.Failed && !s.Unanswered })
	step.Broken = broken(step, completed, in, w, slo)
	step.Met = step.Broken == ""
	if step.Broken == BrokenQueue && step.MaxLag > standstill*seconds/2 {
		step.Valid = false
	}
	return step
}

func broken(step Step, completed int, in []Sample, w Window, slo SLO) string {
	switch {
	case step.ErrorRatio > slo.ErrorRatio:
		return BrokenErrors
	case step.Latency > slo.Latency.Seconds():
		return BrokenLatency
	// One request is always forgiven, for a share of a few dozen is coarser than the criterion.
	case step.Requests-completed > max(1, int((1-minCompleted)*float64(step.Requests))):
		return BrokenThroughput
	case grows(in, w):
		return BrokenQueue
	}
	return ""
}

// silent is false for fewer than fewestSilent requests: one failure is no silence.
func silent(in []Sample, w Window) bool {
	const fewestSilent = 3
	if len(in) >= fewestSilent && !slices.ContainsFunc(in, func(s Sample) bool { return !s.Failed && !s.Unanswered }) {
		return true // a step that was given up early may end with too few
	}
	n := 0
	for _, s := range in {
		if s.Due < w.End-(w.End-w.Start)/4 {
			continue
		}
		if !s.Failed && !s.Unanswered {
			return false
		}
		n++
	}
	return n >= fewestSilent
}

// grows compares the mean number of requests in flight in the two halves of the window.
func grows(in []Sample, w Window) bool {
	middle := w.Start + (w.End-w.Start)/2
	half := (w.End - middle).Seconds()
	var first, second float64
	arrivals := 0
	for _, s := range in {
		done := s.Due + s.Latency
		if s.Unanswered {
			done = w.End
		}
		first += overlap(s.Due, done, w.Start, middle)
		second += overlap(s.Due, done, middle, w.End)
		if s.Due >= middle {
			arrivals++
		}
	}
	first, second = first/half, second/half
	return second > growthRatio*first && second-first > growthShare*float64(arrivals)
}

func overlap(from, to, start, end time.Duration) float64 {
	return max(0, min(to, end)-max(from, start)).Seconds()
}

// rank is the smallest value with at least the share q of all at or below it.
func rank(sorted []float64, q float64) float64 {
	return sorted[min(len(sorted)-1, max(0, int(math.Ceil(q*float64(len(sorted))))-1))]
}
