//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
)

// tally is how runs of a law went.
type tally struct {
	runs, near, covered, named, steps int
	square                            float64
}

const (
	nearEnough = 0.05
	// wantNear of the runs are to be that near, wantCovered of the intervals to hold the truth.
	wantNear, wantCovered = 19.0 / 20, 0.93
	// wantCoveredElsewhere is for laws that the measuring was not made by: their intervals are too narrow by a tenth, and are
	// not to get worse.
	wantCoveredElsewhere = 0.9
)

// fewForgiven: an SLO that forgives less is broken in bursts so rare that the interval is known to be too narrow.
const fewForgiven = 0.015

// coverage is how often an interval held the truth.
type coverage struct{ runs, covered int }

func (c *coverage) add(t tally) { c.runs, c.covered = c.runs+t.runs, c.covered+t.covered }

func (c *coverage) share() float64 { return float64(c.covered) / float64(max(1, c.runs)) }

func (t *tally) add(want float64, got probe.Knee, named bool, steps int) {
	off := got.Rate/want - 1
	t.runs++
	t.square += off * off
	t.steps += steps
	if math.Abs(off) <= nearEnough {
		t.near++
	}
	if got.Lower <= want && want <= got.Upper {
		t.covered++
	}
	if named {
		t.named++
	}
}

// virtualKnees measures the laws that the measuring was made by, those that it was put right by, and those that it was not.
func virtualKnees(ctx context.Context, o options, t *table) error {
	for _, part := range []struct {
		kind  string
		cases []reference.Case
		seeds int
	}{{"virtual time", reference.Cases(), o.seeds}, {"other laws", reference.Others(), o.others}, {"unseen laws", reference.Unseen(), o.others}} {
		if err := lawsOf(ctx, t, part.kind, part.cases, o.first, part.seeds); err != nil {
			return err
		}
	}
	return nil
}

func lawsOf(ctx context.Context, t *table, kind string, cases []reference.Case, first uint64, seeds int) error {
	tallies, errs := make([]tally, len(cases)), make([]error, len(cases))
	var wg sync.WaitGroup
	for i, c := range cases {
		wg.Go(func() {
			want := c.Law.Knee(c.SLO)
			for seed := first; seed < first+uint64(seeds) && ctx.Err() == nil; seed++ {
				knee, steps, err := c.Measure(seed, want)
				if err != nil {
					errs[i] = fmt.Errorf("%s, seed %d: %w", c.Name, seed, err)
					return
				}
				tallies[i].add(want, knee, probe.Bottleneck(steps, knee.Rate, c.Limits) == c.Bottleneck, len(steps))
			}
		})
	}
	wg.Wait()
	var held, rare coverage
	for i, c := range cases {
		if err := errs[i]; err != nil {
			return err
		}
		s := tallies[i]
		if forgives := 1 - c.SLO.Quantile; forgives < fewForgiven {
			rare.add(s)
		} else {
			held.add(s)
		}
		t.check(float64(s.near) >= wantNear*float64(s.runs) && s.named == s.runs, "knee, "+kind+": "+c.Name,
			"19 of 20 within 5 %, always named", "%d of %d within 5 %% (rms %.1f %%, %d steps), held by the interval %d, named %d",
			s.near, s.runs, 100*math.Sqrt(s.square/float64(s.runs)), s.steps/max(1, s.runs), s.covered, s.named)
	}
	t.check(held.share() >= wantCoveredElsewhere, "95 % interval holds the truth, "+kind, "90 %", "%.1f %% of %d", 100*held.share(), held.runs)
	if rare.runs > 0 {
		t.tell("the same, where the SLO forgives 1 %", "%.1f %% of %d", 100*rare.share(), rare.runs)
	}
	return ctx.Err()
}
