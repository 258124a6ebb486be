//go:build linux

// Command bench checks the shadow-runner as a measuring instrument, on this machine's loopback:
//
//   - knees in virtual time: seven laws, so many seeds each, against the textbook formulas
//   - knees over real sockets and in real time: five servers that are processes of their own, so many seeds each
//   - offered load: how late requests are sent at 2,000 a second, and how many can be sent against a server that answers at once
//   - memory with a backlog that never ends
//
// It prints one table of target, figure and verdict, and ends with 1 when a target was missed. It needs an idle machine: the load
// generator and the servers share it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reference"
)

type options struct {
	seeds   int
	others  int
	first   uint64
	real    int
	budget  time.Duration
	only    string
	rates   string
	profile string
	role    string
	law     string
	core    int
}

func main() {
	var o options
	flag.IntVar(&o.seeds, "seeds", 60, "runs of each law in virtual time")
	flag.IntVar(&o.others, "others", 25, "runs of each of the laws that the measuring was not made by, in virtual time")
	flag.IntVar(&o.real, "real", 1, "runs of each law over real sockets")
	flag.Uint64Var(&o.first, "first", 0, "the first seed")
	flag.DurationVar(&o.budget, "budget", 75*time.Second, "after how long a run over real sockets begins no further session")
	flag.StringVar(&o.only, "only", "load,memory,virtual,real", "parts to run")
	flag.StringVar(&o.rates, "rates", "2000,10000,15000,20000", "requests per second that are offered")
	flag.StringVar(&o.profile, "cpuprofile", "", "file for a CPU profile of the runner")
	flag.StringVar(&o.role, "role", "", "part of the bench that this process plays")
	flag.IntVar(&o.core, "core", -1, "core that a stove burns on")
	flag.StringVar(&o.law, "law", "", "law of the server, or the one law that is measured over real sockets")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.role == "stove" {
		return reference.Cook(o.core)
	}
	if o.role != "" {
		return play(ctx, o)
	}
	fmt.Printf("%s/%s, %d cores, %s\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var t table
	for _, part := range []struct {
		name string
		run  func(context.Context, options, *table) error
	}{{"load", offeredLoad}, {"memory", backlog}, {"virtual", virtualKnees}, {"real", realKnees}} {
		if !strings.Contains(","+o.only+",", ","+part.name+",") {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring:", part.name)
		if err := part.run(ctx, o, &t); err != nil {
			// What was found until then is told all the same.
			return errors.Join(fmt.Errorf("%s: %w", part.name, err), t.print(os.Stdout))
		}
	}
	return t.print(os.Stdout)
}
