package metric

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Accuracy is the relative accuracy of every sketch that Foreshadow makes.
const Accuracy = 0.01

const (
	minTracked = 1e-6 // seconds; below a microsecond nothing is told apart
	maxIndex   = 2000 // (1.01/0.99)^2000 is beyond 10^17 seconds: any larger index is a damaged message
)

var logGamma = math.Log((1 + Accuracy) / (1 - Accuracy))

// Sketch is a DDSketch of latencies in seconds (Masson, Rim, Lee: DDSketch, VLDB 2019) with integer counts: every quantile
// is within Accuracy of a true one, and merging is exact addition. The zero value is empty and ready to use. It is not
// safe for concurrent use.
type Sketch struct {
	buckets map[int32]uint64
	zero    uint64
	sum     float64
	max     float64
}

// Add counts one latency in seconds. Negative and NaN values count as zero: a clock step must not poison a window.
func (s *Sketch) Add(seconds float64) {
	if !(seconds >= minTracked) {
		s.zero++
		return
	}
	if math.IsInf(seconds, 1) {
		seconds = math.MaxFloat32
	}
	if s.buckets == nil {
		s.buckets = map[int32]uint64{}
	}
	s.buckets[int32(math.Ceil(math.Log(seconds)/logGamma))]++
	s.sum += seconds
	s.max = max(s.max, seconds)
}

// Merge adds all that o has counted.
func (s *Sketch) Merge(o *Sketch) {
	if s.buckets == nil && len(o.buckets) > 0 {
		s.buckets = make(map[int32]uint64, len(o.buckets))
	}
	for i, n := range o.buckets {
		s.buckets[i] += n
	}
	s.zero += o.zero
	s.sum += o.sum
	s.max = max(s.max, o.max)
}

// Count is the number of latencies counted.
func (s *Sketch) Count() uint64 {
	n := s.zero
	for _, c := range s.buckets {
		n += c
	}
	return n
}

// Sum is the sum of all latencies in seconds.
func (s *Sketch) Sum() float64 { return s.sum }

// Max is the largest latency in seconds; 0 when empty.
func (s *Sketch) Max() float64 { return s.max }

// Quantile returns the q-quantile in seconds, q in [0, 1]; NaN when the sketch is empty, for no data is not zero latency.
func (s *Sketch) Quantile(q float64) float64 {
	n := s.Count()
	if n == 0 || math.IsNaN(q) {
		return math.NaN()
	}
	rank := uint64(math.Floor(min(max(q, 0), 1) * float64(n-1)))
	if rank < s.zero {
		return 0
	}
	seen := s.zero
	for _, i := range slices.Sorted(maps.Keys(s.buckets)) {
		if seen += s.buckets[i]; seen > rank {
			// The point of the bucket with equal relative error to both ends.
			return min(2*math.Exp(float64(i)*logGamma)/(1+math.Exp(logGamma)), s.max)
		}
	}
	return s.max
}

// Proto returns the wire form, with indices ascending so that equal sketches are equal bytes.
func (s *Sketch) Proto() *foreshadowv1.LatencySketch {
	p := &foreshadowv1.LatencySketch{RelativeAccuracy: Accuracy, ZeroCount: s.zero, SumSeconds: s.sum, MaxSeconds: s.max}
	for _, i := range slices.Sorted(maps.Keys(s.buckets)) {
		p.Indices = append(p.Indices, i)
		p.Counts = append(p.Counts, s.buckets[i])
	}
	return p
}

// SketchFromProto reads the wire form; a damaged or foreign sketch is an error. nil is the empty sketch.
func SketchFromProto(p *foreshadowv1.LatencySketch) (Sketch, error) {
	if p == nil {
		return Sketch{}, nil
	}
	if len(p.Indices) != len(p.Counts) {
		return Sketch{}, fmt.Errorf("latency sketch: %d indices but %d counts", len(p.Indices), len(p.Counts))
	}
	if p.RelativeAccuracy != Accuracy {
		return Sketch{}, fmt.Errorf("latency sketch: relative accuracy %v, want %v", p.RelativeAccuracy, Accuracy)
	}
	if !(p.SumSeconds >= 0) || !(p.MaxSeconds >= 0) || math.IsInf(p.SumSeconds, 0) || math.IsInf(p.MaxSeconds, 0) {
		return Sketch{}, errors.New("latency sketch: sum or maximum is not a finite, non-negative number")
	}
	s := Sketch{zero: p.ZeroCount, sum: p.SumSeconds, max: p.MaxSeconds}
	if len(p.Indices) > 0 {
		s.buckets = make(map[int32]uint64, len(p.Indices))
	}
	for k, i := range p.Indices {
		if i > maxIndex || i < -maxIndex {
			return Sketch{}, fmt.Errorf("latency sketch: index %d is out of range", i)
		}
		if p.Counts[k] > 0 {
			s.buckets[i] += p.Counts[k]
		}
	}
	return s, nil
}
