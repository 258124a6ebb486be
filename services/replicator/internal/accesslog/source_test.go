package accesslog

import (
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// copies keeps what the tap publishes.
type copies struct {
	mu     sync.Mutex
	events []kafka.Event[*foreshadowv1.CapturedRequest]
	come   chan struct{}
}

func (c *copies) PublishEvent(e kafka.Event[*foreshadowv1.CapturedRequest]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
	if c.come != nil {
		c.come <- struct{}{}
	}
	return true
}

func (c *copies) Ledger() kafka.Ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	return kafka.Ledger{Offered: uint64(len(c.events)), Published: uint64(len(c.events))}
}

func (c *copies) targets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, e := range c.events {
		out = append(out, e.Message.GetTarget())
	}
	return out
}

func newSource(t *testing.T, cfg Config, c *copies) *Source {
	t.Helper()
	w := workload.Default()
	w.Name, w.Tap.SampleRatio, w.Tap.SampleKey, w.Tap.RedactQuery = "shop", 1, "k", nil
	tapped, err := tap.New(tap.Config{Workload: w, Publisher: c, Accumulator: observe.NewAccumulator(time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, Deps{
		Tap: tapped,
		Log: slog.New(slog.DiscardHandler), Report: func(string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.poll = time.Millisecond
	return s
}

func line(at time.Time, target string) string {
	return fmt.Sprintf("192.0.2.1 - - [%s] \"GET %s HTTP/1.1\" 200 12\n", at.Format("02/Jan/2006:15:04:05 -0700"), target)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// TestFollowLosesNothing writes through a rename with late lines, a cut, lines in pieces and a line that is too long.
func TestFollowLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	cfg := DefaultConfig()
	cfg.Path, cfg.Format, cfg.MaxLineBytes = path, Common, 1024
	now := time.Now()
	write(t, path, line(now, "/old")+"half of a line of the p")
	c := &copies{come: make(chan struct{}, 100)}
	s := newSource(t, cfg, c)
	begun := make(chan struct{})
	s.report = func(problem string) {
		if problem == "" {
			close(begun)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-begun
	next := func() {
		t.Helper()
		select {
		case <-c.come:
		case <-time.After(30 * time.Second):
			t.Fatalf("nothing came; so far %v, ledger %+v", c.targets(), s.Ledger())
		}
	}

	write(t, path, "ast\n"+line(now, "/1"))
	next()
	two := line(now, "/2")
	write(t, path, two[:20])
	write(t, path, two[20:]+strings.Repeat("x", 5000)+"\n\n"+line(now, "/3"))
	next()
	next()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, path+".1", line(now, "/4")) // the server has not opened its logs again yet
	next()
	write(t, path, line(now, "/5/longer-than-what-comes-after-the-cut"))
	next()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	write(t, path, line(now, "/6"))
	next()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/1", "/2", "/3", "/4", "/5/longer-than-what-comes-after-the-cut", "/6"}, c.targets()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	l := s.Ledger()
	if !l.Balanced() || l.Passed != 6 || l.Dropped[ReasonTooLong] != 1 || l.Dropped[ReasonEmpty] != 1 || l.Pending != 0 {
		t.Errorf("ledger %+v", l)
	}
}

// TestLogThatComesLater: what keeps the log from being read is said once, and so is that it is read.
func TestLogThatComesLater(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Path, cfg.Format = filepath.Join(t.TempDir(), "access.log"), Common
	c := &copies{come: make(chan struct{}, 1)}
	s := newSource(t, cfg, c)
	problems := make(chan string, 10)
	s.report = func(problem string) { problems <- problem }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if got := <-problems; !strings.Contains(got, cfg.Path) {
		t.Errorf("reported %q", got)
	}
	at := time.Now().Add(-time.Hour)
	write(t, cfg.Path, line(at, "/first"))
	<-c.come
	if got := <-problems; got != "" {
		t.Errorf("reported %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// A line of an earlier second keeps its second.
	if got := c.events[0].Message.GetArriveTime().AsTime(); got.Before(at.Add(-time.Second)) || got.After(at.Add(time.Second)) {
		t.Errorf("arrived at %v, logged at %v", got, at)
	}
}

// TestReadOnceKeepsTheDistances reads at twice the speed: a day's pause is waited for, a second with four lines is divided,
// and a clock that was set back stops time instead of turning it.
func TestReadOnceKeepsTheDistances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log.gz")
		t0 := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		var text strings.Builder
		text.WriteString(line(t0, "/0"))
		for i := range 4 {
			text.WriteString(line(t0.Add(2*time.Second), fmt.Sprint("/", i+1)))
		}
		text.WriteString("garbage\n")
		text.WriteString(line(t0.Add(24*time.Hour), "/5"))
		text.WriteString(strings.TrimSuffix(line(t0.Add(time.Hour), "/6"), "\n"))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		z := gzip.NewWriter(f)
		_, _ = z.Write([]byte(text.String()))
		_, _ = z.Close(), f.Close()

		cfg := DefaultConfig()
		cfg.Path, cfg.Format, cfg.Follow, cfg.Speed = path, Common, false, 2
		c := &copies{}
		s := newSource(t, cfg, c)
		begun := time.Now()
		if err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for _, e := range c.events {
			got = append(got, e.Time.Sub(begun))
		}
		// The first is due at the middle of its second, where all others count from.
		ms, day := time.Millisecond, 12*time.Hour
		want := []time.Duration{0, 812500 * time.Microsecond, 937500 * time.Microsecond, 1062500 * time.Microsecond, 1187500 * time.Microsecond, day, day}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("arrivals (-want +got):\n%s", diff)
		}
		if took := time.Since(begun); took < day || took > day+100*ms {
			t.Errorf("took %v", took)
		}
		if l := s.Ledger(); !l.Balanced() || l.Passed != 7 || l.Dropped[ReasonFormat] != 1 || l.Pending != 0 {
			t.Errorf("ledger %+v", l)
		}
	})
}

func TestReadOnceEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		t0 := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		write(t, path, line(t0, "/0")+line(t0.Add(time.Hour), "/1")+line(t0.Add(2*time.Hour), "/2"))
		cfg := DefaultConfig()
		cfg.Path, cfg.Format, cfg.Follow = path, Common, false
		c := &copies{}
		s := newSource(t, cfg, c)
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		l := s.Ledger()
		if !l.Balanced() || l.Passed != 2 || l.Dropped[ReasonShutdown] != 1 || l.Pending != 0 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// TestHostileLog reads real logs, where they are at hand, and input of the same kinds, which always is: each line is a
// request or has a reason.
func TestHostileLog(t *testing.T) {
	t.Parallel()
	for name, format := range map[string]string{
		"testdata/hostile.log": Combined,
		"../../../../../shared/traces/logs/nielsbasjes_hackers_combined.log": Combined,
	} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Skipf("this log is not at hand: %v", err)
			}
			cfg := DefaultConfig()
			cfg.Path, cfg.Format, cfg.Follow, cfg.Speed = name, format, false, 1e9
			c := &copies{}
			s := newSource(t, cfg, c)
			if err := s.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			lines := uint64(strings.Count(strings.TrimSuffix(string(text), "\n"), "\n") + 1)
			l := s.Ledger()
			if !l.Balanced() || l.Pending != 0 || l.Seen != lines || l.Passed == 0 {
				t.Errorf("%d lines, ledger %+v", lines, l)
			}
			t.Logf("%d lines, %d requests, dropped %v, tap %v", lines, l.Passed, l.Dropped, maps.Collect(maps.All(s.tap.Ledger().Dropped)))
			if tapped := s.tap.Ledger(); tapped.Seen != l.Passed || !tapped.Balanced() {
				t.Errorf("the tap has %+v", tapped)
			}
		})
	}
}
