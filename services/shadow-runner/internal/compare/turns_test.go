package compare_test

import (
	"math"
	"testing"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/compare"
)

func TestTurns(t *testing.T) {
	t.Parallel()
	const requests = 50_000
	for name, c := range map[string]struct {
		ratio float64
		// every so many a shape is known; 0 is never.
		every int
		// share of the requests that is compared, and share of those with a known shape.
		share, known float64
	}{
		"none is wanted":  {0, 2, 0, 0},
		"none is known":   {0.01, 0, 0.01, 0},
		"all are known":   {0.01, 1, 0.01, 1},
		"many are known":  {0.01, 10, 0.01, 1},
		"too few":         {0.01, 1000, 0.01, 0.1},
		"all are wanted":  {1, 1, 0.9, 1},
		"half are wanted": {0.5, 1, 0.5, 1},
	} {
		turns := compare.NewTurns(c.ratio)
		var chosen, known float64
		for i := range requests {
			is := c.every > 0 && i%c.every == 0
			if turns.Next(is) {
				chosen++
				if is {
					known++
				}
			}
		}
		if share := chosen / requests; math.Abs(share-c.share) > 0.1*c.share {
			t.Errorf("%s: %v of all were chosen, want %v", name, share, c.share)
		}
		if share := known / max(chosen, 1); math.Abs(share-c.known) > 0.05 {
			t.Errorf("%s: of %v the shape was known, want %v", name, share, c.known)
		}
	}
}
