// Command bench compares the replicator with itself and with the real nginx, in one run on this machine's loopback:
//
//   - cost: CPU time per request of the proxy with the tap off, copying one session in ten, and copying all
//   - throughput: the same, and nginx with and without its mirror
//   - harm: the proxy with its broker dead, with one that hangs, and with a slow shadow and no database behind, against the
//     tap switched off; and what nginx's mirror makes of a slow sink
//   - packets: how much of 128 KiB POSTs and of small GETs the passive capture gets
//
// Every part is a process of its own (this program again), so that CPU time is told apart. Nothing is pinned: load,
// application, broker, sink and whichever proxy is measured share the processors, for all variants alike, as they do on a
// machine of a user's. Cost and harm are measured in an open loop on all variants at the same time, throughput in a closed
// one on one after another, in turns of a fraction of a second whose order rotates; what is told is the median of the ratios
// within the rounds (of p50, the ratio of the medians of all requests), so that what else happens on the machine meets all of
// them. It prints the figures and what was aimed at, and ends with 1 when something was missed.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

type options struct {
	rounds int
	length time.Duration
	rate   float64
	only   string
	json   string
	huge   int64
	part   partOptions
}

// partOptions say which part a process is.
type partOptions struct {
	role, target, broker string
	ratio                float64
	port                 int
	delay                time.Duration
	mirror               bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 15, "how often all variants take turns")
	flag.DurationVar(&o.length, "length", 400*time.Millisecond, "length of one turn")
	flag.Float64Var(&o.rate, "rate", 300, "requests per second of the open loop, to each variant")
	flag.StringVar(&o.only, "only", "", "run one part: cost, throughput, harm or packets")
	flag.StringVar(&o.json, "json", "", "file for the results as JSON")
	flag.Int64Var(&o.huge, "huge", 0, "instead: send one body of so many GiB through a proxy of at most 128 MiB")
	p := &o.part
	flag.StringVar(&p.role, "role", "", "internal: which part this process is")
	flag.StringVar(&p.target, "target", "", "internal: address of the application")
	flag.StringVar(&p.broker, "broker", "", "internal: address of the broker")
	flag.Float64Var(&p.ratio, "ratio", 0, "internal: sample ratio")
	flag.IntVar(&p.port, "port", 0, "internal: port to listen at")
	flag.DurationVar(&p.delay, "delay", 0, "internal: what an answer takes")
	flag.BoolVar(&p.mirror, "mirror", false, "internal: be a sink of mirrors")
	flag.Parse()
	run := bench
	switch {
	case p.role != "":
		run = func(o options) error { return runRole(o.part) }
	case o.huge > 0:
		run = hugeBody
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// results is the whole run.
type results struct {
	Figures []figure       `json:"proxy"`
	Packets []packetFigure `json:"packet"`
	Targets []target       `json:"targets"`
	Skipped []string       `json:"skipped,omitempty"`
}

var errMissed = errors.New("not every target was reached")

func bench(o options) error {
	var all results
	for _, part := range []struct {
		name string
		run  func(options, *results) error
	}{{"cost", cost}, {"throughput", throughput}, {"harm", harm}, {"packets", packets}} {
		if o.only != "" && o.only != part.name {
			continue
		}
		begun := time.Now()
		if err := part.run(o, &all); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Fprintf(os.Stderr, "measured %s in %v\n", part.name, time.Since(begun).Round(time.Second))
	}
	all.print(os.Stdout)
	if o.json != "" {
		data, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return fmt.Errorf("encode results: %w", err)
		}
		if err := os.WriteFile(o.json, append(data, '\n'), 0o600); err != nil {
			return err
		}
	}
	for _, t := range all.Targets {
		if !t.Reached {
			return errMissed
		}
	}
	return nil
}
