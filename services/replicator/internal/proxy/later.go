package proxy

import (
	"sync"
	"time"
)

const (
	// gather is how long what can be done later is gathered: waking up for each of it would cost more than most of it does, and
	// the copies wait about as long for company.
	gather = 100 * time.Millisecond
	// maxLater bounds what waits so; what comes then is done at once.
	maxLater = 256
)

// later does things beside the requests, some at a time: net/http sends the end of a chunked answer, and of one by HTTP/2, when
// the handler has returned, and the next request of a connection would wait, too. It is safe for concurrent use, and its zero
// value is ready.
type later struct {
	mu      sync.Mutex
	waiting []func()
	// open counts what is not done yet.
	open sync.WaitGroup
}

// do has f done within about the time of gathering.
func (l *later) do(f func()) {
	l.mu.Lock()
	n := len(l.waiting)
	if n < maxLater {
		l.waiting = append(l.waiting, f)
		l.open.Add(1)
	}
	l.mu.Unlock()
	switch n {
	case 0:
		time.AfterFunc(gather, l.run)
	case maxLater:
		f()
	}
}

// run does what is waiting.
func (l *later) run() {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, f := range waiting {
		f()
		l.open.Done()
	}
}

// wait returns when all is done; nothing may be begun any more.
func (l *later) wait() {
	l.run()
	l.open.Wait()
}
