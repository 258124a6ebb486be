package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

func action(id string) journal.Action {
	return journal.Action{ScalingApplied: &foreshadowv1.ScalingApplied{ActionId: id, Generation: 1 << 60}}
}

func open(t *testing.T, dir string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAllSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "state")
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	pause := journal.Pause{Reason: "sale", Actor: "ada", Time: at}
	lane := journal.Lane{
		Generation: 1 << 60, Changes: []guardrail.Change{{Time: at, Delta: -2}},
		Flights: []journal.Flight{{Action: action("a"), Before: []string{"web-1"}, Accepted: true}},
	}
	first := open(t, dir)
	for _, err := range []error{
		first.SetPause("shop", pause), first.SetPause("other", pause), first.Resume("other"),
		first.SetLane("shop/production", lane, []journal.Action{action("b"), action("c")}),
		first.Recorded(map[string]bool{"b": true}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	second := open(t, dir)
	if got, paused := second.Pause("shop"); !paused || got != pause {
		t.Errorf("pause = %+v, %v", got, paused)
	}
	if _, paused := second.Pause("other"); paused {
		t.Error("a pause that was ended came back")
	}
	if diff := cmp.Diff(lane, second.Lane("shop/production"), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]journal.Action{action("c")}, second.Unrecorded(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadableJournalIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "provisioner.json"), []byte(`{"pauses": {"shop"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want the file named", err)
	}
	if _, err := journal.Open(filepath.Join(dir, "provisioner.json")); err == nil || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("got %v, want state_dir named", err)
	}
}

func TestTornWriteLeavesTheOldJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := open(t, dir).SetPause("shop", journal.Pause{Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	// What a crash in the middle of the next write leaves.
	if err := os.WriteFile(filepath.Join(dir, "provisioner.json.next"), []byte(`{"pau`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, paused := open(t, dir).Pause("shop"); !paused {
		t.Error("the pause is gone")
	}
}

// Two that were given one directory: whoever wrote last goes on, and the other neither undoes what that one keeps nor acts.
func TestTwoDoNotOverwriteEachOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one := open(t, dir)
	if err := one.SetPause("shop", journal.Pause{Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	two := open(t, dir)
	if err := two.SetPause("other", journal.Pause{Actor: "ben"}); err != nil {
		t.Fatal(err)
	}
	if err := one.Resume("shop"); !errors.Is(err, journal.ErrOutdated) || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("resumed: %v", err)
	}
	if err := two.SetLane("shop/production", journal.Lane{Generation: 2}, nil); err != nil {
		t.Error(err)
	}
	third := open(t, dir)
	for _, name := range []string{"shop", "other"} {
		if _, paused := third.Pause(name); !paused {
			t.Errorf("the pause of %s is gone", name)
		}
	}
	// One that was removed by hand is nobody's.
	if err := os.Remove(filepath.Join(dir, "provisioner.json")); err != nil {
		t.Fatal(err)
	}
	if err := third.SetPause("more", journal.Pause{Actor: "ada"}); err != nil {
		t.Error(err)
	}
}

func TestAJournalThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	// A directory where the next one is written, as a full disk would, lets nothing be written.
	next := filepath.Join(dir, "provisioner.json.next")
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := j.SetPause("shop", journal.Pause{Actor: "ada"}); err == nil || errors.Is(err, journal.ErrOutdated) {
		t.Errorf("written: %v", err)
	}
	if _, paused := j.Pause("shop"); paused {
		t.Error("a pause counts that is not durable")
	}
	if err := os.Remove(next); err != nil {
		t.Fatal(err)
	}
	if err := j.SetPause("shop", journal.Pause{Actor: "ada"}); err != nil {
		t.Error(err)
	}
}

func TestOnlyOneWritesAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := j.SetPause("shop", journal.Pause{Actor: "ada"}); err == nil || errors.Is(err, journal.ErrOutdated) {
		t.Errorf("written beside another: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.SetPause("shop", journal.Pause{Actor: "ada"}); err != nil {
		t.Error(err)
	}
}
