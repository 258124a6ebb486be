package accesslog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// reader follows a log by hand: it looks when it is told to.
type reader struct {
	t      rapid.TB
	source *Source
	copies *copies
	file   *followed
	buf    []byte
}

func follow(t *testing.T, path string, fromStart bool) *reader {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Path, cfg.Format, cfg.MaxLineBytes = path, Common, 1024
	c := &copies{}
	r := &reader{t: t, source: newSource(t, cfg, c), copies: c, buf: make([]byte, 64<<10)}
	r.open(fromStart)
	t.Cleanup(func() { _ = r.file.file.Close() })
	return r
}

func (r *reader) open(fromStart bool) {
	var err error
	if r.file, err = r.source.open(fromStart); err != nil {
		r.t.Fatal(err)
	}
}

// look is one poll.
func (r *reader) look() {
	for {
		more, err := r.source.step(r.file, r.buf)
		if err != nil {
			r.t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

func cut(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
}

// TestLogThatWasCutAndHasGrown: between two looks a log is cut, as copytruncate does, and grows to, or beyond, where it was
// read to. Each line of what it became is read once, none of what it was again.
func TestLogThatWasCutAndHasGrown(t *testing.T) {
	t.Parallel()
	now := time.Now()
	lines := func(name string, n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(now, fmt.Sprintf("/%s/%06d", name, i)))
		}
		return b.String()
	}
	for name, c := range map[string]struct{ before, after string }{
		"far beyond":            {lines("old", 3), lines("new", 10)},
		"to the same size":      {lines("old", 3), lines("new", 3)},
		"and a piece of a line": {lines("old", 3), lines("new", 3) + line(now, "/new/piece")[:20]},
		"half way in a line":    {lines("old", 3) + line(now, "/old/half")[:40], lines("new", 5)},
		"more than is compared": {lines("old", 100), lines("new", 200)},
		"more than is read":     {lines("old", 2000), lines("new", 5000)},
		"to less":               {lines("old", 3), lines("new", 1)},
	} {
		for _, fromStart := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, from start %v", name, fromStart), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "access.log")
				write(t, path, c.before)
				r := follow(t, path, fromStart)
				r.look()
				cut(t, path)
				write(t, path, c.after)
				r.look()
				want := targetsIn(c.after)
				if fromStart {
					want = slices.Concat(targetsIn(c.before), want)
				}
				if diff := cmp.Diff(want, r.copies.targets()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if l := r.source.Ledger(); !l.Balanced() || l.Seen != uint64(len(want)) || l.Passed != l.Seen {
					t.Errorf("ledger %+v, want %d lines", l, len(want))
				}
			})
		}
	}
}

// targetsIn are those of whole lines.
func targetsIn(text string) (targets []string) {
	for l := range strings.Lines(text) {
		if strings.HasSuffix(l, "\n") {
			targets = append(targets, strings.Fields(l)[6])
		}
	}
	return targets
}

// TestServerThatDoesNotAppend writes on where it was when its log is cut: the zeros before are no part of a line.
func TestServerThatDoesNotAppend(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 3000, 200_000} {
		for _, seesHole := range []bool{true, false} {
			t.Run(fmt.Sprint(size, seesHole), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "access.log")
				f, err := os.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				now, n := time.Now(), 0
				say := func() {
					_, _ = f.WriteString(line(now, fmt.Sprint("/", n)))
					n++
				}
				r := follow(t, path, true)
				for written := 0; written < size; written += 80 {
					say()
				}
				r.look()
				cut(t, path)
				if seesHole {
					r.look()
				}
				say()
				say()
				r.look()
				say()
				r.look()
				var want []string
				for i := range n {
					want = append(want, fmt.Sprint("/", i))
				}
				if diff := cmp.Diff(want, r.copies.targets()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if l := r.source.Ledger(); l.Seen != uint64(n) || l.Passed != uint64(n) {
					t.Errorf("ledger %+v, want %d lines", l, n)
				}
			})
		}
	}
}

// TestCutsAtAnyTime: whatever is written, cut and looked at in whatever order, of each life of the log the lines that were there
// at the last look at it are read, once and in order, and of its present life all.
func TestCutsAtAnyTime(t *testing.T) {
	t.Parallel()
	dir, now, run := t.TempDir(), time.Now(), 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprint(run))
		write(t, path, "")
		r := follow(t, path, true)
		defer r.file.file.Close()
		var want []string
		var life, seen string // what the log holds, and held when it was looked at
		n := 0
		settle := func() { want = append(want, targetsIn(seen)...) }
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"write", "write", "look", "cut"}).Draw(rt, "step") {
			case "write":
				var text strings.Builder
				for range rapid.IntRange(1, 40).Draw(rt, "lines") {
					text.WriteString(line(now, fmt.Sprintf("/%d", n)))
					n++
				}
				// Half a line now, and the other with what comes next.
				pieces := text.String()
				at := rapid.IntRange(0, len(pieces)).Draw(rt, "at")
				write(t, path, pieces[:at])
				if life += pieces[:at]; rapid.Bool().Draw(rt, "look between") {
					r.look()
					seen = life
				}
				write(t, path, pieces[at:])
				life += pieces[at:]
			case "look":
				r.look()
				seen = life
			case "cut":
				settle()
				cut(t, path)
				life, seen = "", ""
			}
		}
		r.look()
		seen = life
		settle()
		if diff := cmp.Diff(want, r.copies.targets()); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
