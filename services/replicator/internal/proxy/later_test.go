package proxy

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestLaterDoesAllOnce(t *testing.T) {
	t.Parallel()
	var l later
	var done atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 { // more than may wait
				l.do(func() { done.Add(1) })
			}
		})
	}
	wg.Wait()
	l.wait()
	if n := done.Load(); n != 8*200 {
		t.Errorf("%d of %d were done", n, 8*200)
	}
}

func TestLaterComesByItself(t *testing.T) {
	t.Parallel()
	var l later
	for range 3 {
		done := make(chan struct{})
		l.do(func() { close(done) })
		<-done
	}
	l.wait()
}
