package command

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBarCountsSecondsUntilTheFirstIsDone: forecasting takes half of a run and tells nothing of its progress.
func TestBarCountsSecondsUntilTheFirstIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var drawn bytes.Buffer
		b := &bar{out: &drawn, began: time.Now(), quit: make(chan struct{})}
		b.stopped.Go(b.tick)
		b.report(0, 4)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		b.report(1, 4)
		time.Sleep(5 * time.Second)
		b.report(4, 4)
		b.stop()
		b.stop()
		var states []string
		for _, s := range strings.Split(drawn.String(), "\r")[1:] {
			states = append(states, strings.TrimSpace(strings.Trim(s, "[#.]")))
		}
		want := "forecasting, 0 s|forecasting, 1 s|forecasting, 2 s|1 of 4|4 of 4"
		if got := strings.NewReplacer("#", "", ".", "", "] ", "").Replace(strings.Join(states, "|")); got != want {
			t.Errorf("drew %s, want %s", got, want)
		}
		if !strings.HasSuffix(drawn.String(), "\n") || strings.Count(drawn.String(), "\n") != 1 {
			t.Errorf("the line does not end once: %q", drawn.String())
		}
	})
}

func TestNoBarInAPipe(t *testing.T) {
	t.Parallel()
	var piped bytes.Buffer
	b := newBar(&piped)
	b.report(0, 2)
	b.report(2, 2)
	b.stop()
	if piped.Len() > 0 {
		t.Errorf("drew %q", piped.String())
	}
}
