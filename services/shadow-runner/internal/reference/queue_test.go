package reference

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Where both a formula and the simulation know a law, they agree.
func TestTheSimulationAgreesWithTheFormula(t *testing.T) {
	t.Parallel()
	for _, c := range []Case{Cases()[1], Cases()[6]} {
		knee := c.Law.Knee(c.SLO)
		forgiven := 1 - c.SLO.Quantile
		if below, above := c.Law.late(0.95*knee, c.SLO, 1)/forgiven, c.Law.late(1.05*knee, c.SLO, 1)/forgiven; below >= 1 || above <= 1 {
			t.Errorf("%s: below the knee of its formula %.2f of what is forgiven is late, above it %.2f", c.Name, below, above)
		}
	}
}

func TestServiceTimesHaveTheMeanThatIsSaid(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(Others(), Unseen()) {
		rng := rand.New(rand.NewPCG(3, 3))
		const n = 20_000
		sum := 0.0
		for range n {
			sum += c.Law.need(rng).Seconds() / n
		}
		if off := sum/c.Law.Service.Seconds() - 1; math.Abs(off) > 0.08 {
			t.Errorf("%s: the mean is off by %.3f", c.Name, off)
		}
	}
}

func TestNobodyWorksInAPause(t *testing.T) {
	t.Parallel()
	l := Law{Workers: 1, Service: ms(30), Pause: ms(100), Every: ms(1000)}
	for at, want := range map[time.Duration]time.Duration{
		ms(0): ms(130), ms(50): ms(130), ms(100): ms(130), ms(500): ms(530), ms(980): ms(1110), ms(1020): ms(1130),
	} {
		if got := l.inTime(l.worked(at) + l.Service); got != want {
			t.Errorf("what begins at %v ends at %v, want %v", at, got, want)
		}
	}
}

// Two requests share one worker, a third comes once the first has left; two workers serve two at full speed.
func TestSharedWorkersServeAllAtOnce(t *testing.T) {
	t.Parallel()
	dues := []time.Duration{0, ms(10), ms(40)}
	tests := map[int][]time.Duration{1: {ms(30), ms(40), ms(60)}, 2: {ms(20), ms(30), ms(60)}}
	for workers, want := range tests {
		l := Law{Workers: workers, Service: ms(20), Shared: true}
		for i, v := range l.serve(rand.New(rand.NewPCG(1, 1)), dues) {
			if off := v.leave - want[i]; off.Abs() > time.Microsecond {
				t.Errorf("%d workers: request %d leaves at %v, want %v", workers, i, v.leave, want[i])
			}
		}
	}
}

func TestAServerIsHeldAgainstWhatItDid(t *testing.T) {
	t.Parallel()
	law := Law{Workers: 4, Service: ms(10), Random: true}
	var s Served
	for range 100 {
		s.note(ms(12), ms(1))
	}
	tests := map[string]struct {
		real   Real
		served Served
		want   func(Law) bool
	}{
		"nothing is known":    {Real{Law: law}, Served{}, func(l Law) bool { return l.Draw == nil && l.Delay == nil }},
		"answers were late":   {Real{Law: law}, s, func(l Law) bool { return l.Draw == nil && l.Delay(rand.New(rand.NewPCG(1, 1))) == ms(1) }},
		"the work took long":  {Real{Law: law, Burn: true}, s, func(l Law) bool { return l.Service == ms(12) && l.need(rand.New(rand.NewPCG(1, 1))) == ms(12) }},
		"a connection is had": {Real{Law: law, Connections: true}, s, func(l Law) bool { return l.Service == ms(13) }},
		"by the schedule":     {Real{Law: Law{Workers: 4, Service: ms(10), Refuses: true}}, s, func(l Law) bool { return l.Service == ms(10) && l.Delay == nil }},
	}
	for name, tc := range tests {
		if got := tc.served.Law(tc.real); !tc.want(got) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for range 2 * mostServed {
		s.note(ms(20), 0)
	}
	if len(s.Took) != mostServed || s.MeanTook() != ms(20) || s.MeanLate() != 0 {
		t.Errorf("%d are kept, of %v and %v", len(s.Took), s.MeanTook(), s.MeanLate())
	}
}
