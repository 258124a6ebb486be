package scaling

import (
	"math"
	"strings"
	"testing"
	"time"
)

// lived is the decision after a span in which the demand at each quarter of an hour was as given; no forecast.
func lived(in Input, span time.Duration, demand func(hour int) float64) Decision {
	var s State
	var d Decision
	in.Forecast = Forecast{}
	for at := time.Duration(0); at <= span; at += 15 * time.Minute {
		now := start.Add(at)
		in.Demand = []Point{{now.Add(-2 * time.Second), demand(int(at.Hours()))}, {now.Add(-time.Second), demand(int(at.Hours()))}}
		d, s = Decide(s, in, now)
	}
	return d
}

func large() Tried {
	return Tried{Name: "large", InstanceSize: InstanceSize{CPUCores: 2, MemoryBytes: 4 << 30}, Price: 2, Capacity: Capacity{Source: CapacityMeasured, PerSecond: 250}}
}

func priced() Input {
	in := settled()
	in.Config.Risk = 0.5 // without noise, so that the sums below can be done by hand
	in.Capacity.Expires = time.Time{}
	in.Price, in.Tried = 1, []Tried{large()}
	return in
}

func steady(int) float64 { return 950 }

func TestACheaperSizeIsSaidAndNotTaken(t *testing.T) {
	t.Parallel()
	in := priced()
	d := lived(in, 25*time.Hour, steady)
	a := d.Cheaper
	if a == nil || a.Name != "large" || a.Instances != 4 || math.Abs(a.Hourly-8) > 1e-6 || math.Abs(a.Today-10) > 1e-6 {
		t.Fatalf("alternative %+v: want 4 large ones for 8 instead of 10 an hour", a)
	}
	if !has(d, CheaperSize) || !strings.Contains(strings.Join(texts(d), "\n"), "would have cost 8 instead of 10 an hour on the demand of late; 4 would do now") {
		t.Errorf("reasons %v", texts(d))
	}
	if early := lived(in, 23*time.Hour, steady); early.Cheaper != nil {
		t.Error("advice before a whole day was seen")
	}
	in.Tried = nil
	if plain := lived(in, 25*time.Hour, steady); plain.Production != d.Production {
		t.Errorf("production %+v with the advice, %+v without: another size is its owner's to deploy", d.Production, plain.Production)
	}
}

func TestNumberAndSizeAreChosenTogether(t *testing.T) {
	t.Parallel()
	in := priced()
	// By night two instances of today's size stand for the minimum, and two large ones would cost twice as much: by day they
	// are cheaper, over the day they are not.
	night := func(hour int) float64 {
		if hour%24 >= 6 {
			return 90
		}
		return 950
	}
	if d := lived(in, 49*time.Hour, night); d.Cheaper != nil {
		t.Errorf("alternative %+v for a service that sleeps most of the day", d.Cheaper)
	}
	// What was long ago counts less.
	if d := lived(in, 24*9*time.Hour, func(hour int) float64 {
		if hour < 24 {
			return 90
		}
		return 950
	}); d.Cheaper == nil {
		t.Error("a quiet day of last week decides today")
	}
}

func TestWhatIsNotKnownIsNoAdvice(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(in *Input){
		"no price":                func(in *Input) { in.Price = 0 },
		"price not a number":      func(in *Input) { in.Price = math.NaN() },
		"price of the other":      func(in *Input) { in.Tried[0].Price = 0 },
		"not tried":               func(in *Input) { in.Tried[0].Capacity = Capacity{Source: CapacityHint, PerSecond: 250} },
		"tried long ago":          func(in *Input) { in.Tried[0].Capacity.Expires = start },
		"tried on another mix":    func(in *Input) { in.Tried[0].Capacity.MixDrift = 0.3 },
		"today's is a guess":      func(in *Input) { in.Capacity = Capacity{Source: CapacityHint, PerSecond: 100} },
		"today's is old":          func(in *Input) { in.Capacity.Expires = start },
		"too small a saving":      func(in *Input) { in.Tried[0].Price = 2.3 },
		"uncertain":               func(in *Input) { in.Config.Risk = 0.05; in.Tried[0].Capacity.Lower = 150 },
		"more than the maximum":   func(in *Input) { in.Config.MaxInstances = 3 },
		"the demand is not known": func(in *Input) { in.Config.DemandMaxAge = time.Millisecond },
	} {
		in := priced()
		change(&in)
		if d := lived(in, 25*time.Hour, steady); d.Cheaper != nil || has(d, CheaperSize) {
			t.Errorf("%s: alternative %+v", name, d.Cheaper)
		}
	}
}
