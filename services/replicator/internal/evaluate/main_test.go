package main

import (
	"fmt"
	"os"
	"testing"
)

// check: the statement held in at least 95 % of the runs.
func check(t *testing.T, tr trace, rate float64, runs int) {
	t.Helper()
	r := evaluate(tr, rate, runs)
	t.Log(r)
	if r.mixInside < kept || r.p95Inside < kept {
		t.Errorf("%s at %v: the mix lay inside the interval in %.1f %% of the runs, p95 in %.1f %%",
			tr.name, rate, 100*r.mixInside, 100*r.p95Inside)
	}
}

// TestStatedIntervalsHoldOnARealLog uses the copy of a real log that the demo plays.
func TestStatedIntervalsHoldOnARealLog(t *testing.T) {
	t.Parallel()
	tr, err := loadLog("../../../demo/internal/trace/access.log")
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.requests) < 1000 {
		t.Fatalf("read %d requests", len(tr.requests))
	}
	for _, rate := range []float64{0.05, 0.2} {
		check(t, tr, rate, 200)
	}
}

// TestStatedIntervalsHoldOnTheWholeLogs is the same on the logs that are not part of this repository.
func TestStatedIntervalsHoldOnTheWholeLogs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"elastic_apache_combined.log", "nielsbasjes_hackers_combined.log"} {
		path := "../../../../../shared/traces/logs/" + name
		if _, err := os.Stat(path); err != nil {
			t.Skipf("the log is not here: %v", err)
		}
		tr, err := loadLog(path)
		if err != nil {
			t.Fatal(err)
		}
		check(t, tr, 0.05, 200)
	}
}

func TestStatedIntervalsHoldOnSkewedTraffic(t *testing.T) {
	t.Parallel()
	for _, s := range []shape{{sessions: 1500, routes: 12, skew: 0.5, tail: 3}, {sessions: 1500, routes: 60, skew: 1.3, tail: 1.3}} {
		check(t, synthetic(fmt.Sprintf("skew %v", s.skew), 1, s), 0.05, 200)
	}
}

func TestTargetIsReached(t *testing.T) {
	t.Parallel()
	tr := synthetic("target", 3, shape{sessions: 2500, routes: 6, skew: 0.5, tail: 3})
	const target = 0.15
	r := targeted(tr, target, 60)
	if r.mixReached < 0.95 || r.p95At < 0.95 || r.copies > 0.9*float64(len(tr.requests)) {
		t.Errorf("within the target in %.0f %% (mix) and %.0f %% (p95) of the runs, with %.0f of %d requests copied",
			100*r.mixReached, 100*r.p95At, r.copies, len(tr.requests))
	}
}
