package backtest

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

// trip is a short journey over a series with a gap, so that something is foreseen and something is not.
func trip(t *testing.T) journey {
	t.Helper()
	o := quick()
	s := shop(2, 5*time.Minute)
	for i := 400; i < 430; i++ {
		s.Values[i] = math.NaN()
	}
	_, f, err := o.prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	return f.journey
}

func TestKeptForecastsAreThoseThatWereMade(t *testing.T) {
	t.Parallel()
	j, s := trip(t), shelf{filepath.Join(t.TempDir(), "new", "folder")}
	made, err := s.chronicle(context.Background(), j)
	if err != nil {
		t.Fatal(err)
	}
	abstained := func(v sight) bool { return v.Abstained != "" }
	if n := len(made.Steps); n != len(j.Series.Values) || !slices.ContainsFunc(made.Steps[j.From:], abstained) || abstained(made.Steps[n-1]) {
		t.Fatalf("%d steps, of which after the warm-up some and not all should abstain", n)
	}
	// A walk that must not be walked again: it would see that it was called off.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	kept, err := s.chronicle(ctx, j)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(made, kept, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}

	files, err := os.ReadDir(s.folder)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v in the folder, %v: want one file", files, err)
	}
	path := filepath.Join(s.folder, files[0].Name())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"empty": {}, "cut off": whole[:len(whole)/2], "of something else": []byte("timestamp,value\n")} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(path); err == nil {
			t.Errorf("a file that is %s was read", name)
		}
	}
	if _, err := s.chronicle(ctx, j); err == nil {
		t.Error("a damaged file was not made anew")
	}
	if again, err := s.chronicle(context.Background(), j); err != nil || len(again.Steps) != len(made.Steps) {
		t.Errorf("a damaged file stopped everything: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !slices.Equal(got, whole) {
		t.Errorf("made anew, the file differs: %v", err)
	}
}

func launch(multiplier float64) calendar.Event {
	return calendar.Event{Name: "launch", Start: "2026-03-02", Multiplier: &multiplier}
}

func TestForecastsAreKeptByAllTheyDependOn(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, change := range map[string]func(*journey){
		"same":    func(*journey) {},
		"value":   func(j *journey) { j.Series.Values[7]++ },
		"missing": func(j *journey) { j.Series.Values[7] = math.NaN() },
		"shorter": func(j *journey) { j.Series.Values = j.Series.Values[:500] },
		"step":    func(j *journey) { j.Series.Step *= 2 },
		"start":   func(j *journey) { j.Series.Start = j.Series.Start.Add(time.Hour) },
		"from":    func(j *journey) { j.From++ },
		"scored":  func(j *journey) { j.Scored++ },
		"whole":   func(j *journey) { j.Whole = !j.Whole },
		"horizon": func(j *journey) { j.Horizon++ },
		"zone":    func(j *journey) { j.Known.TimeZone = "Europe/Berlin" },
		"event":   func(j *journey) { j.Known.Events = []calendar.Event{{Name: "launch", Start: "2026-03-02"}} },
		"factor":  func(j *journey) { j.Known.Events = []calendar.Event{launch(2)} },
		"another": func(j *journey) { j.Known.Events = []calendar.Event{launch(3)} },
	} {
		j := trip(t)
		change(&j)
		key, err := j.key()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q are kept in the same place", name, other)
		}
		seen[key] = name
	}
	again := trip(t)
	again.Known.Events = []calendar.Event{launch(2)}
	if key, _ := again.key(); seen[key] != "factor" {
		t.Error("the same calendar, loaded again, is another one")
	}
	elsewhere := trip(t)
	elsewhere.Series.Start = elsewhere.Series.Start.In(time.FixedZone("far", 3600))
	if key, _ := elsewhere.key(); seen[key] != "same" {
		t.Error("the same moment in another time zone is another series")
	}
}

func TestAFolderThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (shelf{file}).chronicle(context.Background(), trip(t)); err == nil {
		t.Error("a file was taken for a folder")
	}
}
