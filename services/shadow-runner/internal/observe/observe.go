// Package observe counts what the shadow did, second by second. A request counts in the second it was sent in, its response
// in the second it ended in; every second is reported once, those without traffic too, for silence is not zero load.
package observe

import (
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Source names the runner in its observations.
const Source = "shadow-runner"

// Width of an observation.
const Width = time.Second

// maxCatchUp bounds the empty seconds reported after the process was stopped for a while (SIGSTOP, a sleeping laptop): what
// happened then is not known, and must not look like hours of silence.
const maxCatchUp = 60

// Recorder is safe for concurrent use.
type Recorder struct {
	workload   string
	sloLatency time.Duration
	now        func() time.Time

	mu       sync.Mutex
	current  second
	closed   []second
	inFlight uint32
}

type second struct {
	start       time.Time
	strata      metric.Strata
	maxInFlight uint32
	maxLag      time.Duration
}

// NewRecorder begins with the present second.
func NewRecorder(workload string, sloLatency time.Duration, now func() time.Time) *Recorder {
	return &Recorder{workload: workload, sloLatency: sloLatency, now: now, current: second{start: metric.WindowStart(now(), Width), strata: metric.Strata{}}}
}

// Sent counts a request that is being sent, lag after it was due.
func (r *Recorder) Sent(s traffic.Stratum, bytes uint64, lag time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	c := r.current.strata.At(s)
	c.Requests++
	c.RequestBytes += bytes
	r.inFlight++
	r.current.maxInFlight = max(r.current.maxInFlight, r.inFlight)
	r.current.maxLag = max(r.current.maxLag, lag)
}

// Answered counts the end of a request that was Sent; latency is from when it was due.
func (r *Recorder) Answered(s traffic.Stratum, bytes uint64, latency time.Duration, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	c := r.current.strata.At(s)
	c.Responses++
	c.ResponseBytes += bytes
	c.Latency.Add(latency.Seconds())
	if failed {
		c.Errors++
	}
	if failed || latency > r.sloLatency {
		c.SLOViolations++
	}
	r.inFlight--
}

// Take returns the seconds that are over, oldest first, each once. With final the present second is taken too.
func (r *Recorder) Take(final bool) []*foreshadowv1.MetricsObserved {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	if final {
		r.close(r.current.start)
	}
	out := make([]*foreshadowv1.MetricsObserved, len(r.closed))
	for i, s := range r.closed {
		out[i] = &foreshadowv1.MetricsObserved{
			Workload: r.workload, Environment: foreshadowv1.Environment_ENVIRONMENT_SHADOW, Source: Source,
			StartTime: timestamppb.New(s.start), DurationSeconds: Width.Seconds(), Traffic: s.strata.Proto(),
			MaxInFlight: s.maxInFlight, MaxLagSeconds: s.maxLag.Seconds(),
		}
	}
	r.closed = nil
	return out
}

// advance closes the seconds that are over. The clock is read under the lock, so that counts never go to a closed second;
// after a step of the clock, back or far ahead, counting goes on where it is now, and readers add what is said twice of a second.
func (r *Recorder) advance() {
	start := metric.WindowStart(r.now(), Width)
	if gap := start.Sub(r.current.start); gap < 0 || gap > maxCatchUp*Width {
		r.close(start)
		return
	}
	for r.current.start.Before(start) {
		r.close(r.current.start.Add(Width))
	}
}

func (r *Recorder) close(next time.Time) {
	r.closed = append(r.closed, r.current)
	r.current = second{start: next, strata: metric.Strata{}, maxInFlight: r.inFlight}
}
