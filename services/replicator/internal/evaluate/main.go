// Command evaluate checks what the sampler states about itself: it takes a trace, states the interval of the mix and of p95
// for a rate, draws the sample with many keys, and counts how often the weighted sample lies inside. See `make
// evaluate-sampling`.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
)

// kept is how often a 95 % interval has to hold.
const kept = 0.95

func main() {
	logs := flag.String("logs", "", "access logs in combined format, separated by commas")
	runs := flag.Int("runs", 200, "keys to draw with")
	flag.Parse()
	if err := run(*logs, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "evaluate:", err)
		os.Exit(1)
	}
}

func run(logs string, runs int) error {
	var traces []trace
	for path := range strings.SplitSeq(logs, ",") {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			fmt.Printf("skipped %s: %v\n", path, err)
			continue
		}
		t, err := loadLog(path)
		if err != nil {
			return err
		}
		traces = append(traces, t)
	}
	traces = append(traces, synthetic("synthetic, even", 1, shape{sessions: 4000, routes: 12, skew: 0.5, tail: 3}),
		synthetic("synthetic, skewed", 2, shape{sessions: 4000, routes: 60, skew: 1.3, tail: 1.3}))
	fmt.Printf("%d runs each; the mix is the total variation distance, p95 of response bytes (logs) or latency (synthetic);\n"+
		"a sample of no copies has no p95, and counts as outside\n\n", runs)
	fmt.Println(header)
	missed := 0
	for _, t := range traces {
		for _, rate := range []float64{0.01, 0.05, 0.2} {
			r := evaluate(t, rate, runs)
			fmt.Println(r)
			switch {
			case math.Pow(1-rate, float64(r.sessions)) > 1-kept:
				fmt.Println("  not judged: so few sessions leave the sample empty more often than an interval may fail")
			case r.mixInside < kept || r.p95Inside < kept:
				missed++
			}
		}
	}
	fmt.Printf("\ntarget of 5 %% on %s\n\n%s\n", "a larger synthetic trace", targetHeader)
	for _, s := range []shape{
		{sessions: 60000, routes: 12, skew: 0.5, tail: 3}, {sessions: 60000, routes: 60, skew: 1.3, tail: 1.3},
	} {
		fmt.Println(evaluateTarget(synthetic(fmt.Sprintf("%d routes, skew %v", s.routes, s.skew), 3, s), 0.05, runs))
	}
	if missed > 0 {
		return fmt.Errorf("in %d rows the sample lay inside the stated interval in fewer than %.0f %% of the runs", missed, 100*kept)
	}
	fmt.Printf("\nin every row that is judged the sample lay inside the stated interval in at least %.0f %% of the runs\n", 100*kept)
	return nil
}
