package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/sample"
)

const (
	header       = "trace                         strata  sessions  requests  rate  copies  deff   mix within  observed 95 %  inside  p95 within        inside"
	targetHeader = "trace                         strata  sessions  requests  copies  of a uniform rate   mix <= 5 %  p95 within 5 %"
)

// result is how often the samples of one rate lay inside the stated intervals.
type result struct {
	trace             trace
	rate              float64
	strata, sessions  int
	figure            sample.Figure
	copies            float64 // mean over the runs
	mixes             []float64
	mixInside         float64
	p95Inside         float64
	mixReached, p95At float64 // within the target
}

func (r result) String() string {
	slices.Sort(r.mixes)
	return fmt.Sprintf("%-28.28s  %6d  %8d  %8d  %3.0f %%  %6.0f  %4.1f  %10.3f  %13.3f  %5.1f %%  %5.0f %% %+7.0f %%  %5.1f %%",
		r.trace.name, r.strata, r.sessions, len(r.trace.requests), 100*r.rate, r.copies, r.figure.DesignEffect,
		r.figure.Mix, r.mixes[len(r.mixes)*95/100], 100*r.mixInside,
		100*(r.figure.Low/r.figure.P95-1), 100*(r.figure.High/r.figure.P95-1), 100*r.p95Inside)
}

// settings make the whole trace one span.
func settings(target float64) workload.Sampling {
	s := workload.Default().Tap.Sampling
	s.TargetError, s.Interval, s.Span = target, time.Minute, time.Minute
	return s
}

// play shows the sampler the whole trace and lets the interval pass, twice: what it states after the second time is about
// that alone, and by then it knows at which latencies to look closely.
func play(s *sample.Sampler, t trace, base float64, now time.Time) {
	place := traffic.NewSampler("place")
	for pass := range 2 {
		for _, r := range t.requests {
			s.See(sample.Seen{Draw: place.Draw(r.session), Stratum: r.stratum, Base: base, Seconds: r.value})
		}
		s.Tick(now.Add(time.Duration(pass+1)*time.Minute), 1)
	}
}

func evaluate(t trace, rate float64, runs int) result {
	now := time.Unix(0, 0)
	s := sample.New(settings(0), now)
	play(s, t, rate, now)
	return draw(t, s, rate, runs, 0)
}

// draw takes the sample with one key after another.
func draw(t trace, s *sample.Sampler, base float64, runs int, target float64) result {
	r := result{trace: t, rate: base}
	r.figure, _ = s.Figure()
	production := map[traffic.Stratum]float64{}
	sessions := map[string]bool{}
	values := make([]weighted, len(t.requests))
	for i, q := range t.requests {
		production[q.stratum]++
		sessions[q.session] = true
		values[i] = weighted{q.value, 1}
	}
	r.strata, r.sessions = len(production), len(sessions)
	p95 := quantile(values)
	for run := range runs {
		keyed := traffic.NewSampler("key " + strconv.Itoa(run))
		drawn := map[traffic.Stratum]float64{}
		var total float64
		var copies []weighted
		places := make(map[string]traffic.Draw, len(sessions))
		for id := range sessions {
			places[id] = keyed.Draw(id)
		}
		for _, q := range t.requests {
			if p, fate := s.Choose(places[q.session], q.stratum, base, 1); fate == sample.In {
				drawn[q.stratum] += 1 / p
				total += 1 / p
				copies = append(copies, weighted{q.value, 1 / p})
			}
		}
		mix := 1.0
		if total > 0 {
			mix = 0
			for st, n := range production {
				mix += math.Abs(drawn[st]/total-n/float64(len(t.requests))) / 2
			}
		}
		at := quantile(copies)
		r.copies += float64(len(copies)) / float64(runs)
		r.mixes = append(r.mixes, mix)
		count := func(into *float64, inside bool) {
			if inside {
				*into += 1 / float64(runs)
			}
		}
		count(&r.mixInside, mix <= r.figure.Mix)
		count(&r.p95Inside, at >= r.figure.Low && at <= r.figure.High)
		count(&r.mixReached, mix <= target)
		count(&r.p95At, math.Abs(at/p95-1) <= target)
	}
	return r
}

// targeted lets the sampler choose the rates.
func targeted(t trace, target float64, runs int) result {
	now := time.Unix(0, 0)
	s := sample.New(settings(target), now)
	play(s, t, 0.1, now)
	return draw(t, s, 0.1, runs, target)
}

// evaluateTarget says besides what a uniform rate would have taken for the same interval.
func evaluateTarget(t trace, target float64, runs int) string {
	now := time.Unix(0, 0)
	r := targeted(t, target, runs)
	uniform := 1.0
	for low, high := 0.001, 1.0; high-low > 0.005; {
		uniform = (low + high) / 2
		u := sample.New(settings(0), now)
		play(u, t, uniform, now)
		if f, _ := u.Figure(); f.Mix <= target && f.P95HalfWidth() <= target {
			high = uniform
		} else {
			low = uniform
		}
	}
	return fmt.Sprintf("%-28.28s  %6d  %8d  %8d  %6.0f  %17.0f   %8.1f %%  %12.1f %%", t.name, r.strata, r.sessions, len(t.requests),
		r.copies, uniform*float64(len(t.requests)), 100*r.mixReached, 100*r.p95At)
}

type weighted struct{ value, weight float64 }

// quantile is the weighted p95; NaN of nothing. It sorts in place.
func quantile(values []weighted) float64 {
	slices.SortFunc(values, func(a, b weighted) int { return cmp.Compare(a.value, b.value) })
	total := 0.0
	for _, v := range values {
		total += v.weight
	}
	sum := 0.0
	for _, v := range values {
		if sum += v.weight; sum >= sample.Quantile*total {
			return v.value
		}
	}
	return math.NaN()
}
