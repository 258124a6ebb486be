package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// bar draws how far long work is, for a person only. Until the first piece is done it counts the seconds, so that nobody takes
// long preparations for a hang. The zero bar draws nothing.
type bar struct {
	out     io.Writer
	mu      sync.Mutex
	began   time.Time
	done    int
	all     int
	drawn   bool
	quit    chan struct{}
	stopped sync.WaitGroup
	once    sync.Once
}

// newBar returns a bar that stop must be called of.
func newBar(w io.Writer) *bar {
	if !isTerminal(w) {
		return &bar{}
	}
	b := &bar{out: w, began: time.Now(), quit: make(chan struct{})}
	b.stopped.Go(b.tick)
	return b
}

func (b *bar) tick() {
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for {
		select {
		case <-each.C:
			b.mu.Lock()
			if b.all > 0 && b.done == 0 {
				b.draw()
			}
			b.mu.Unlock()
		case <-b.quit:
			return
		}
	}
}

// report says that so much of all is done.
func (b *bar) report(done, all int) {
	if b.out == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done, b.all = done, all
	b.draw()
}

func (b *bar) draw() {
	const width = 40
	full := width * b.done / max(b.all, 1)
	state := fmt.Sprintf("%d of %d", b.done, b.all)
	if b.done == 0 {
		state = fmt.Sprintf("forecasting, %.0f s", time.Since(b.began).Seconds())
	}
	fmt.Fprintf(b.out, "\r[%s%s] %-22s", strings.Repeat("#", full), strings.Repeat(".", width-full), state)
	b.drawn = true
}

// stop ends the line, so that what follows begins its own. Only the first call does anything.
func (b *bar) stop() {
	if b.out == nil {
		return
	}
	b.once.Do(func() {
		close(b.quit)
		b.stopped.Wait()
		if b.drawn {
			fmt.Fprintln(b.out)
		}
	})
}

// isTerminal says whether a person reads along.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
