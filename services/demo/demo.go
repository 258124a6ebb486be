package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/demo/internal/load"
	"github.com/foreshadow/foreshadow/services/demo/internal/report"
	"github.com/foreshadow/foreshadow/services/demo/internal/shop"
	"github.com/foreshadow/foreshadow/services/demo/internal/trace"
	"github.com/foreshadow/foreshadow/services/stack"
)

//go:embed demo.yaml
var configTemplate string

const (
	workloadName = "shop"
	startup      = 4 * time.Second
	sloLatency   = 200 * time.Millisecond
	peakRate     = 420 // requests per second at the highest point of the trace
	liveEvery    = 3 * time.Second
	drainTimeout = 30 * time.Second
)

// Options says how the demo runs.
type Options struct {
	// For is how long users come; 0 = until interrupted.
	For time.Duration
	// Day is how long a day of the trace takes.
	Day time.Duration
	// Policy is predictive or reactive.
	Policy workload.PolicyKind
	// Report is the file for the report; empty = none.
	Report string
	// Console is the address of the web page; empty = a free port.
	Console string
	// Binary is the foreshadow program.
	Binary string
	// Out gets the live line and the table.
	Out io.Writer
}

// Validate names the flag of each fault.
func (o Options) Validate() error {
	var errs []error
	if o.For < 0 {
		errs = append(errs, fmt.Errorf("--for: must not be negative, got %v", o.For))
	}
	if o.Day < 30*time.Second || o.Day > 24*time.Hour {
		errs = append(errs, fmt.Errorf("--day: want 30s to 24h, got %v", o.Day))
	}
	if o.Policy != workload.Predictive && o.Policy != workload.Reactive {
		errs = append(errs, fmt.Errorf("--policy: want predictive or reactive, got %q", o.Policy))
	}
	return errors.Join(errs...)
}

// DefaultShop is how an instance of the shop behaves.
func DefaultShop() shop.Config {
	return shop.Config{Startup: startup, Workers: 4, ServiceTime: 50 * time.Millisecond, Drain: 5 * time.Second}
}

// RunShop runs one instance of the shop until ctx ends.
func RunShop(ctx context.Context, cfg shop.Config, ln net.Listener) error {
	s, err := shop.New(cfg)
	if err != nil {
		return err
	}
	return s.Run(ctx, ln)
}

// ErrBroken says that an invariant did not hold; the report says which.
var ErrBroken = errors.New("an invariant broke")

// Run starts everything, lets users come, reports, and leaves nothing behind.
func Run(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "foreshadow-")
	if err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	// PostgreSQL runs as another user when this one is root, and must be able to reach its data.
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("open run directory: %w", err)
	}
	d := &run{Options: o, dir: dir}
	err = d.run(ctx)
	if err != nil && !errors.Is(err, ErrBroken) {
		return fmt.Errorf("%w (logs are kept in %s)", err, filepath.Join(dir, "logs"))
	}
	return errors.Join(err, os.RemoveAll(dir))
}

type run struct {
	Options
	dir      string
	clock    clock
	requests []trace.Request
	stack    *stack.Stack
}

func (d *run) run(ctx context.Context) error {
	pace, err := trace.LoadPace()
	if err != nil {
		return err
	}
	if d.requests, err = trace.LoadRequests(); err != nil {
		return err
	}
	d.clock = newClock(pace, d.Day, time.Now())
	config, err := d.writeConfig()
	if err != nil {
		return err
	}
	listen := map[string]string{}
	if d.Console != "" {
		listen[stack.Console] = d.Console
	}
	log := slog.New(slog.NewTextHandler(d.Out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d.stack, err = stack.New(stack.Config{
		Binary: d.Binary, ConfigFile: config, Dir: d.dir, Listen: listen,
		BeforeUpper: func(ctx context.Context, s *stack.Stack) error { return d.importHistory(ctx, s) },
	}, log)
	if err != nil {
		return err
	}
	d.say("Starting broker, database, platform, five services and the console ...")
	// The stack outlives the users, so that their last requests are answered and everything can be counted.
	stackCtx, stopStack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStack()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.stack.Run(stackCtx) })
	g.Go(func() error {
		defer stopStack()
		return d.serve(ctx)
	})
	return g.Wait()
}

// serve lets users come once everything is ready, and reports when they have gone.
func (d *run) serve(ctx context.Context) error {
	select {
	case <-d.stack.Ready():
	case <-ctx.Done():
		return nil
	}
	w, err := newWatcher(d)
	if err != nil {
		return err
	}
	defer w.close()
	// Whole seconds of the wall clock, so that users, windows and the trace share their boundaries.
	begin := time.Now().Truncate(time.Second).Add(2 * time.Second)
	users := load.New(load.Config{
		URL: "http://" + d.stack.Listen(stack.Replicator), Requests: d.requests, Rate: d.rates(begin),
		SLOLatency: sloLatency, Timeout: 15 * time.Second, Seed: 1,
	})
	d.say("Console: http://%s   (Ctrl-C ends the demo)", d.stack.Listen(stack.Console))
	d.say("Users come now: real HTTP requests, mixed like a real access log, a day in %v.\n", d.Day)
	select {
	case <-time.After(time.Until(begin)):
	case <-ctx.Done():
		return nil
	}
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		w.live(watching)
	}()
	err = users.Run(ctx)
	stopWatching()
	<-watched
	if err != nil {
		return err
	}
	return d.finish(context.WithoutCancel(ctx), w, users, begin)
}

// rates is the demand of each second from begin on.
func (d *run) rates(begin time.Time) []float64 {
	length := d.For
	if length == 0 {
		length = 24 * time.Hour
	}
	out := make([]float64, int(length/time.Second))
	for i := range out {
		out[i] = d.clock.rate(begin.Add(time.Duration(i) * time.Second))
	}
	return out
}

// finish waits until every hop has passed on what it holds, checks the invariants, and reports.
func (d *run) finish(ctx context.Context, w *watcher, users *load.Generator, begin time.Time) error {
	d.say("\nUsers have gone. Waiting until every hop has passed on what it holds ...")
	seconds := users.Seconds()
	last := len(seconds)
	for last > 0 && seconds[last-1].Due == 0 {
		last--
	}
	seconds = seconds[:last]
	settle, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	evidence, err := w.collect(settle, begin, time.Duration(last)*time.Second)
	if err != nil {
		return err
	}
	evidence.Users, evidence.Failures, evidence.Policy = seconds, users.Failures(), string(d.Policy)
	evidence.Startup, evidence.Minimum, evidence.Maximum, evidence.Initial = startup, 2, 14, 4
	r := report.Make(evidence)
	r.Table(d.Out)
	if d.Report != "" {
		if err := r.Write(d.Report); err != nil {
			return err
		}
	}
	if !r.OK() {
		return ErrBroken
	}
	return nil
}

func (d *run) writeConfig() (string, error) {
	t, err := template.New("demo.yaml").Parse(configTemplate)
	if err != nil {
		return "", fmt.Errorf("read configuration template: %w", err)
	}
	var text bytes.Buffer
	values := map[string]any{"Binary": d.Binary, "Policy": d.Policy, "Startup": startup, "Day": d.Day}
	if err := t.Execute(&text, values); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	path := filepath.Join(d.dir, "demo.yaml")
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

func (d *run) say(format string, args ...any) { _, _ = fmt.Fprintf(d.Out, format+"\n", args...) }

// SendUsers lets users come to a URL until ctx ends.
func SendUsers(ctx context.Context, url string, day time.Duration) error {
	pace, err := trace.LoadPace()
	if err != nil {
		return err
	}
	requests, err := trace.LoadRequests()
	if err != nil {
		return err
	}
	d := run{Options: Options{Day: day}, clock: newClock(pace, day, time.Now())}
	return load.New(load.Config{
		URL: url, Requests: requests, Rate: d.rates(time.Now()), SLOLatency: sloLatency, Timeout: 15 * time.Second, Seed: 1,
	}).Run(ctx)
}
