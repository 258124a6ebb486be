package scaling

import (
	"testing"
	"time"
)

// yard is a platform: instances start within a minute and are given another size one after the other, each in no time.
type yard struct {
	sizes    []InstanceSize // of the ready ones
	starting []time.Time    // when each is ready
	template InstanceSize
}

func (y *yard) size() InstanceSize {
	for _, s := range y.sizes {
		if s != y.sizes[0] {
			return InstanceSize{}
		}
	}
	return y.sizes[0]
}

func (y *yard) apply(d Size, now time.Time) {
	for len(y.starting) > 0 && !now.Before(y.starting[0]) {
		y.starting, y.sizes = y.starting[1:], append(y.sizes, y.template)
	}
	for len(y.sizes)+len(y.starting) < d.Instances {
		y.starting = append(y.starting, now.Add(time.Minute))
	}
	if len(y.sizes) > d.Instances {
		y.sizes = y.sizes[:d.Instances]
	}
	if asked := (InstanceSize{d.CPUCores, d.MemoryBytes}); asked != (InstanceSize{}) {
		for i := range y.sizes {
			if !y.sizes[i].Is(asked) {
				y.sizes[i] = asked
				return
			}
		}
		y.template = asked
	}
}

// crossing plays a platform under a steady demand for two days and returns what became of it.
type crossing struct {
	from, to Tried
	config   func(*Config)
	tried    func(at time.Duration, t []Tried) []Tried // what is known of the other size; nil: all the time all
	stuck    bool                                      // the platform changes no size
}

func (c crossing) play(t *testing.T, demand float64, at func(at time.Duration, y *yard, d Decision)) {
	t.Helper()
	in := priced()
	in.Config.FollowSize, in.Config.DownHold, in.Config.MaxInstances = true, time.Minute, 100
	if c.config != nil {
		c.config(&in.Config)
	}
	in.Forecast = Forecast{}
	y := &yard{template: c.from.InstanceSize}
	for range instancesFor(demand, c.from.Capacity.counted(in.Config.Risk, in.Config.Imbalance)) {
		y.sizes = append(y.sizes, c.from.InstanceSize)
	}
	carries := map[InstanceSize]Tried{c.from.InstanceSize: c.from, c.to.InstanceSize: c.to}
	var s State
	for span := time.Duration(0); span <= 48*time.Hour; span += 30 * time.Second {
		now := start.Add(span)
		in.Demand = []Point{{now.Add(-2 * time.Second), demand}, {now.Add(-time.Second), demand}}
		in.Instances = Instances{Desired: len(y.sizes) + len(y.starting), Ready: len(y.sizes)}
		in.Utilization = Utilization{Share: 0.65 * demand / carried(y, carries), At: now.Add(-5 * time.Second)}
		in.Size = y.size()
		known, same := carries[in.Size]
		in.Price, in.Capacity = c.from.Price, c.from.Capacity
		if same {
			in.Price, in.Capacity = known.Price, known.Capacity
		}
		in.Capacity.OtherSize = !same
		in.Tried = []Tried{c.to}
		if c.tried != nil {
			in.Tried = c.tried(span, in.Tried)
		}
		var d Decision
		d, s = Decide(s, in, now)
		if c.stuck {
			d.Production.CPUCores, d.Production.MemoryBytes = 0, 0
		}
		y.apply(d.Production, now)
		if sum := carried(y, carries); sum < demand {
			t.Fatalf("after %s %d instances carry %v of %v requests/s", span, len(y.sizes), sum, demand)
		}
		at(span, y, d)
	}
}

// carried is what all that are ready carry.
func carried(y *yard, of map[InstanceSize]Tried) (sum float64) {
	for _, size := range y.sizes {
		sum += of[size].Capacity.PerSecond
	}
	return sum
}

func small() Tried {
	return Tried{Name: "small", InstanceSize: InstanceSize{CPUCores: 1, MemoryBytes: 2 << 30}, Price: 1, Capacity: Capacity{Source: CapacityMeasured, PerSecond: 100}}
}

func TestProductionIsMovedToTheSizeThatCostsLess(t *testing.T) {
	t.Parallel()
	cheapSmall := small()
	cheapSmall.Price = 0.5
	for name, tc := range map[string]struct {
		from, to Tried
		want     int
	}{
		"fewer larger ones": {small(), large(), 4},
		// Four large ones cost 8 an hour, ten small ones 5: they must be there before any of the four gets smaller.
		"more smaller ones": {large(), cheapSmall, 10},
	} {
		moved, first := time.Duration(0), time.Duration(0)
		var end *yard
		crossing{from: tc.from, to: tc.to}.play(t, 950, func(at time.Duration, y *yard, d Decision) {
			if d.Production.CPUCores != 0 && first == 0 {
				first = at
			}
			if y.size() == tc.to.InstanceSize && moved == 0 {
				moved = at
			}
			end = y
		})
		if first < 24*time.Hour || moved == 0 || moved > 26*time.Hour {
			t.Errorf("%s: first asked for after %s, done after %s", name, first, moved)
		}
		if len(end.sizes) != tc.want || end.size() != tc.to.InstanceSize {
			t.Errorf("%s: ends with %d of %+v, want %d of %+v", name, len(end.sizes), end.size(), tc.want, tc.to.InstanceSize)
		}
	}
}

func TestAMoveThatDoesNotArriveIsGivenUp(t *testing.T) {
	t.Parallel()
	asked, gaveUp := 0, 0
	cheapSmall := small()
	cheapSmall.Price = 0.5
	crossing{from: large(), to: cheapSmall, stuck: true}.play(t, 950, func(at time.Duration, y *yard, d Decision) {
		if has(d, SizeChange) || has(d, SizeChangeGrows) {
			asked++
		}
		if has(d, SizeChangeFailed) {
			gaveUp++
		}
		if at > 30*time.Hour && len(y.sizes) != 4 {
			t.Fatalf("after %s there are still %d instances for a size that did not come", at, len(y.sizes))
		}
	})
	// 48 h are a day of looking, four hours of trying, and a day of leaving it alone.
	if gaveUp != 1 || asked == 0 || asked > 4*120+1 {
		t.Errorf("asked %d times, gave up %d times", asked, gaveUp)
	}
}

func TestAMoveStopsWhenTheSizeFailed(t *testing.T) {
	t.Parallel()
	forget := 24*time.Hour + 2*time.Minute // on the way
	crossing{from: small(), to: large(), tried: func(at time.Duration, tried []Tried) []Tried {
		if at > forget {
			return nil
		}
		return tried
	}}.play(t, 950, func(at time.Duration, _ *yard, d Decision) {
		if at > forget && (has(d, SizeChange) || d.Production.CPUCores != 0) {
			t.Fatalf("after %s it goes on to a size that is not known to do any more: %v", at, texts(d))
		}
		if at == forget && d.Production.CPUCores == 0 {
			t.Fatal("it was not on the way")
		}
	})
}

func TestTheShadowIsLikeProductionIs(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Capacity.Rough, in.Size = true, InstanceSize{CPUCores: 3, MemoryBytes: 5 << 30}
	d, _ := Decide(State{}, in, start)
	if d.Shadow.Instances != 1 || d.Shadow.CPUCores != 3 || d.Shadow.MemoryBytes != 5<<30 || d.Production.CPUCores == 3 {
		t.Errorf("shadow %+v beside production of %+v that is to have %+v", d.Shadow, in.Size, d.Production)
	}
}

func TestACapacityOfAnotherSizeDoesNotUndercutTheHPA(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Capacity.OtherSize = true
	in.Utilization.Share, in.Utilization.At = 1, start.Add(-time.Second)
	d, _ := Decide(State{}, in, start)
	if !has(d, CapacityOtherSize) || d.Production.Instances < d.HPAInstances || d.HPAInstances <= in.Instances.Ready {
		t.Errorf("%d instances, the HPA %d of %d: %v", d.Production.Instances, d.HPAInstances, in.Instances.Ready, texts(d))
	}
}
