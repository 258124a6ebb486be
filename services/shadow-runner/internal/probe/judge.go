package probe

import (
	"math"
	"slices"
	"time"
)

// SLO is the promise a load level is judged by.
type SLO struct {
	// Quantile of the latency, in (0, 1).
	Quantile float64
	// Latency allowed at the quantile.
	Latency time.Duration
	// ErrorRatio is the share of requests that may fail.
	ErrorRatio float64
}

// Sample is the fate of one request of a step.
type Sample struct {
	// Due is when it was to be sent, counted from the start of the step.
	Due time.Duration
	// Lag is how much later it was sent.
	Lag time.Duration
	// Latency is from due to the last byte of the response; meaningless when Unanswered.
	Latency time.Duration
	// Failed: status 5xx or a transport error, timeouts included.
	Failed bool
	// Unanswered: it was never sent for lack of room, or had no end when the step was judged.
	Unanswered bool
}

// Window is the part of a step that counts.
type Window struct {
	// Start is where settling ends, End where the load ends; both from the start of the step.
	Start, End time.Duration
}

// Step is a load level that was held, and what came of it.
type Step struct {
	// Offered and Completed are requests per second inside the window.
	Offered, Completed float64
	// Requests that were due inside the window.
	Requests int
	// Latency at the SLO's quantile, in seconds; +Inf when too many were never answered.
	Latency float64
	// ErrorRatio is the share of failed requests, ViolationRatio that of those that failed or took too long.
	ErrorRatio, ViolationRatio float64
	// MaxLag is the largest lag of the generator in seconds.
	MaxLag float64
	// Met says that the level is within the SLO.
	Met bool
	// Broken names the first criterion that was not met; empty when Met.
	Broken string
	// Valid is false when the generator and not the instance may have set the pace.
	Valid bool
	// CPUCores and MemoryBytes of the instance; 0 when not known. The caller fills them.
	CPUCores    float64
	MemoryBytes uint64
}

// Criteria a step can break.
const (
	BrokenErrors     = "error ratio"
	BrokenLatency    = "latency"
	BrokenThroughput = "throughput"
	BrokenQueue      = "queue growth"
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
	step := Step{
		Offered: float64(n) / seconds, Completed: float64(completed) / seconds, Requests: n,
		Latency: rank(latencies, slo.Quantile), ErrorRatio: float64(failed) / float64(n), ViolationRatio: float64(violations) / float64(n), MaxLag: lags[n-1],
		Valid: rank(lags, lagQuantile) <= lagShare*slo.Latency.Seconds(),
	}
	step.Broken = broken(step, completed, in, w, slo)
	step.Met = step.Broken == ""
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
