package hpa

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLimitIsNormalizeWithoutStabilisation drives both with the same wishes. Beyond the longest period the memory of
// Normalize overwrites events, so that all policies have the same period here.
func TestLimitIsNormalizeWithoutStabilisation(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		direction := func(name string) Direction {
			d := Direction{Select: Select(rapid.IntRange(0, 2).Draw(t, name+" select"))}
			for range rapid.IntRange(1, 2).Draw(t, name+" policies") {
				kind := PolicyType(rapid.IntRange(0, 1).Draw(t, name+" type"))
				d.Policies = append(d.Policies, Policy{Type: kind, Value: rapid.IntRange(1, 100).Draw(t, name+" value"), Period: time.Minute})
			}
			return d
		}
		b := Behavior{Up: direction("up"), Down: direction("down")}
		rules := Rules{Min: 1, Max: 1000, Behavior: &b}
		var h History
		var changes []Change
		now, current := time.Unix(1e9, 0), rapid.IntRange(1, 100).Draw(t, "start")
		for range 20 {
			now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "wait")) * time.Second)
			wish := rapid.IntRange(1, 300).Draw(t, "wish")
			var want int
			want, h = rules.Normalize(h, current, wish, now)
			got := min(1000, max(1, b.Limit(current, wish, changes, now)))
			if got != want {
				t.Fatalf("from %d to %d: %d, the controller takes %d", current, wish, got, want)
			}
			if got != current {
				changes = append(changes, Change{Replicas: got - current, At: now})
			}
			current = got
		}
	})
}

func TestLimitWithoutPoliciesBoundsNothing(t *testing.T) {
	t.Parallel()
	if got := (Behavior{}).Limit(3, 50, nil, time.Now()); got != 50 {
		t.Errorf("limited to %d", got)
	}
	if got := (Behavior{Down: Direction{Select: SelectDisabled}}).Limit(3, 1, nil, time.Now()); got != 3 {
		t.Errorf("removed although disabled: %d", got)
	}
}
