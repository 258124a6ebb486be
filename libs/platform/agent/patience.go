package agent

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Patience says when an instance that was ready is given up. No answer in time is load more often than death, and replacing an
// overloaded instance makes things worse: it leaves the more to the others, and takes from a measurement what is being measured.
type Patience struct {
	// Misses in a row, refused or answered otherwise than well, end it.
	Misses int
	// HungAfter is how long after it was last seen well one that answers no check is given up.
	HungAfter time.Duration
}

// DefaultPatience is what a kubelet's three checks, 10 s apart, give an instance that does not answer.
func DefaultPatience() Patience { return Patience{Misses: 3, HungAfter: 30 * time.Second} }

// Vigil is what the checks of one instance that is ready have shown. Its zero value has seen none.
type Vigil struct {
	missed int
	well   time.Time
}

// Well notes a check that was answered well.
func (v *Vigil) Well(now time.Time) { v.missed, v.well = 0, now }

// Missed notes a check that was not, and why. The reason is why the instance is to be given up, empty while it is not.
func (v *Vigil) Missed(err error, now time.Time, p Patience) (reason string) {
	if errors.Is(err, context.DeadlineExceeded) {
		if silent := now.Sub(v.well); silent >= p.HungAfter {
			return fmt.Sprintf("answered no check for %s", silent.Round(time.Second))
		}
		return ""
	}
	if v.missed++; v.missed >= p.Misses {
		return fmt.Sprintf("missed %d checks in a row, the last: %v", v.missed, err)
	}
	return ""
}
