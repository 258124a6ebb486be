package probe

import "time"

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
	// Refused: it failed without an answer and before the time for one was over: there was no connection, or it broke.
	Refused bool
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
	// Latency at the SLO's quantile, in seconds; +Inf when too many were never answered. LatencyLower and LatencyUpper are its
	// 95 % interval.
	Latency, LatencyLower, LatencyUpper float64
	// ErrorRatio is the share of failed requests, ViolationRatio that of those that failed or took too long.
	ErrorRatio, ViolationRatio float64
	// ErrorClump and ViolationClump are how many requests say as much of these shares as one independent request would, for
	// both come in bursts: while the queue is long. 0 when the step is too short to tell.
	ErrorClump, ViolationClump float64
	// Concurrency is the mean number of requests in flight inside the window.
	Concurrency float64
	// MaxLag is the largest lag of the generator in seconds.
	MaxLag float64
	// Met says that the level is within the SLO.
	Met bool
	// Broken names the first criterion that was not met; empty when Met.
	Broken string
	// Silent says that in the last quarter of the window every request failed or had no answer.
	Silent bool
	// Alive says that some request was answered well, those of the settling included.
	Alive bool
	// Sudden says that it answered as it should and then died: what failed from that moment on is left out of the rest.
	Sudden bool
	// Valid is false when the generator and not the instance may have set the pace.
	Valid bool
	// Resources the instance used; the caller fills them.
	Resources Resources
}

// Resources that an instance used while a step was held; what is not known is 0.
type Resources struct {
	// CPUCores is the mean.
	CPUCores float64
	// MemoryBytes is the highest reading.
	MemoryBytes uint64
	// NetworkBytes per second, in and out together.
	NetworkBytes float64
	// DownstreamSeconds is the mean time a call took that the instance made to something else, DownstreamErrors the share of
	// such calls that failed.
	DownstreamSeconds, DownstreamErrors float64
}

// Criteria a step can break.
const (
	BrokenErrors     = "error ratio"
	BrokenLatency    = "latency"
	BrokenThroughput = "throughput"
	BrokenQueue      = "queue growth"
	// BrokenLost: too much broke it and the instance went away of that, or two that answered well died of it. When the step is not
	// valid as well, the generator may have broken it. See Search.Lost.
	BrokenLost = "loss of the instance"
	// BrokenOnce: an instance that answered well died at this level. The step is not valid: one such loss may be an accident.
	BrokenOnce = "one loss of an instance"
)
