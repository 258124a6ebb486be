package probe_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/probe"
)

// held is a level of 10 s with a share of bad requests.
func held(rate, bad float64) probe.Step {
	s := probe.Step{Offered: rate, Completed: rate, Requests: int(10 * rate), Latency: 0.02, Valid: true, Met: true, Alive: true}
	if bad > 0 {
		s.Met, s.Broken, s.Latency, s.ViolationRatio = false, probe.BrokenLatency, 2, bad
	}
	return s
}

func TestWhatAnInstanceIsLostOf(t *testing.T) {
	t.Parallel()
	hung, invalid, idle := held(20, 1), held(80, 1), held(80, 0)
	hung.ErrorRatio, hung.Silent, hung.Alive = 1, true, false
	invalid.Valid, idle.Valid = false, false
	flooded := hung
	flooded.Alive = true
	few := held(80, 0.5)
	few.Requests = 4
	tests := map[string]struct {
		before []probe.Step
		step   probe.Step // during which it went away
		after  time.Duration
		lostOf float64 // the rate that is blamed; 0 for none
	}{
		"too much":                           {[]probe.Step{held(40, 0)}, held(80, 0.9), time.Second, 80},
		"too much at first":                  {nil, held(80, 0.9), time.Second, 80},
		"flooded at first":                   {nil, flooded, time.Second, 20},
		"answered well":                      {[]probe.Step{held(40, 0)}, held(80, 0), time.Second, 0},
		"hung from the start":                {nil, hung, time.Second, 0},
		"carried before":                     {[]probe.Step{held(40, 0)}, held(35, 0.9), time.Second, 0},
		"nothing was held":                   {[]probe.Step{held(40, 0)}, probe.Step{}, time.Second, 0},
		"two bad requests":                   {[]probe.Step{held(40, 0)}, few, time.Second, 0},
		"the generator lagged":               {[]probe.Step{held(40, 0)}, invalid, time.Second, 80},
		"the generator lagged, answered":     {[]probe.Step{held(40, 0)}, idle, time.Second, 0},
		"it lagged in the level before":      {[]probe.Step{held(40, 0), invalid}, held(36, 0), 5 * time.Second, 80},
		"of the level before":                {[]probe.Step{held(40, 0), held(80, 0.9)}, held(56, 0.8), 5 * time.Second, 80},
		"of the level before, at ease since": {[]probe.Step{held(40, 0), held(80, 0.9)}, held(36, 0), 5 * time.Second, 80},
		"as late as it is given up":          {[]probe.Step{held(40, 0), held(80, 0.9)}, held(36, 0), 33 * time.Second, 80},
		"long after the level before":        {[]probe.Step{held(40, 0), held(80, 0.9)}, held(36, 0), time.Minute, 0},
		"of more than the level before":      {[]probe.Step{held(40, 0), held(48, 0.1)}, held(80, 0.9), 5 * time.Second, 80},
	}
	for name, tc := range tests {
		s := probe.NewSearch(probe.Plan{SLO: slo, Start: 40, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second})
		for _, b := range tc.before {
			s.Record(b)
		}
		if got := s.Lost(tc.step, tc.after); got != (tc.lostOf > 0) {
			t.Errorf("%s: lost of the load: %v", name, got)
		}
		for _, step := range s.Steps() {
			if (step.Broken == probe.BrokenLost) != (tc.lostOf > 0 && step.Offered == tc.lostOf) {
				t.Errorf("%s: %.0f requests/s: %q", name, step.Offered, step.Broken)
			}
		}
		if level, more := s.Next(); tc.lostOf > 0 && (!more || level.Rate > 0.9*tc.lostOf) {
			t.Errorf("%s: then %.1f requests/s, %v", name, level.Rate, more)
		}
	}
}

// An instance that answered well until it died may have had an accident: the level is held again, and two deaths are a verdict.
func TestADeathIsBelievedTheSecondTime(t *testing.T) {
	t.Parallel()
	sudden := func(rate float64) probe.Step {
		s := held(rate, 0)
		s.Sudden = true
		return s
	}
	begin := func() *probe.Search {
		s := probe.NewSearch(probe.Plan{SLO: slo, Start: 40, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second})
		s.Next()
		s.Record(held(40, 0))
		first, _ := s.Next()
		if !s.Lost(sudden(first.Rate), time.Second) || !s.Suspects() {
			t.Fatalf("steps %+v", s.Steps())
		}
		if again, more := s.Next(); !more || !reflect.DeepEqual(again, first) {
			t.Errorf("%+v after a death at %+v, %v", again, first, more)
		}
		if got := s.Steps()[1]; got.Valid || got.Met || got.Broken != probe.BrokenOnce {
			t.Errorf("step %+v", got)
		}
		return s
	}
	s := begin()
	s.Record(held(80, 0))
	if level, more := s.Next(); !more || level.Rate != 160 || s.Suspects() {
		t.Errorf("after another has carried it: %+v, %v", level, more)
	}
	s = begin()
	if !s.Lost(sudden(80), time.Minute) || s.Suspects() {
		t.Error("a second death is not believed")
	}
	got := s.Steps()[2]
	if level, more := s.Next(); !more || level.Rate > 72 || got.Broken != probe.BrokenLost || got.Met || !got.Valid {
		t.Errorf("after a second death %+v: %+v, %v", got, level, more)
	}
	if k, err := s.Knee(); err != nil || k.Rate < 40 || k.Rate >= 80 || k.Upper > 80 {
		t.Errorf("knee %+v, %v", k, err)
	}
	s.Record(held(70, 0)) // as near as a level may be
	if k, err := s.Knee(); err != nil || k != (probe.Knee{Rate: 70, Lower: 70, Upper: 70, Precise: true}) {
		t.Errorf("knee %+v, %v", k, err)
	}
	if level, more := s.Next(); more {
		t.Errorf("then %+v", level)
	}
	// What was carried is not blamed, however often.
	s = begin()
	s.Record(held(80, 0))
	s.Next()
	if !s.Lost(sudden(60), time.Minute) || s.Lost(sudden(60), time.Minute) {
		t.Error("blamed, though more was carried")
	}
}

// deaths are the answers of an instance that is asked every 10 ms, answers in 20, and refuses from one moment on until another.
func deaths(from, to time.Duration, fate probe.Sample) []probe.Sample {
	var out []probe.Sample
	for due := time.Duration(0); due < 9*time.Second; due += 10 * time.Millisecond {
		s := probe.Sample{Due: due, Latency: 20 * time.Millisecond}
		if due >= from && due < to {
			s = fate
			s.Due = due
		}
		out = append(out, s)
	}
	return out
}

func TestWhatADeathLooksLike(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	refused := probe.Sample{Failed: true, Refused: true}
	cutOff := probe.Sample{Failed: true, Refused: true, Latency: slo.Latency + 1}
	for name, tc := range map[string]struct {
		samples []probe.Sample
		left    time.Duration // when its platform says that it went away
		sudden  bool
	}{
		"not seen":                        {deaths(6*time.Second, never, refused), never, true},
		"seen at once":                    {deaths(6*time.Second, never, refused), 6 * time.Second, true},
		"seen late":                       {deaths(6*time.Second, never, refused), 8 * time.Second, true},
		"seen, and another took over":     {deaths(6*time.Second, 7*time.Second, refused), 6 * time.Second, true},
		"while it settled":                {deaths(700*time.Millisecond, never, refused), never, true},
		"two requests":                    {deaths(8980*time.Millisecond, never, refused), never, false},
		"it answers with errors":          {deaths(6*time.Second, never, probe.Sample{Failed: true}), never, false},
		"it hangs":                        {deaths(6*time.Second, never, probe.Sample{Failed: true, Unanswered: true}), never, false},
		"given up after it hung":          {deaths(6*time.Second, never, probe.Sample{Failed: true, Unanswered: true}), 8 * time.Second, false},
		"what it was late for is cut off": {deaths(6*time.Second, never, cutOff), 8 * time.Second, false},
		"it had refused some before":      {append(deaths(2*time.Second, 3*time.Second, refused)[:800], deaths(0, never, refused)[800:]...), never, false},
		"nothing was answered":            {deaths(0, never, refused), never, false},
		"told to, and drained":            {deaths(never, never, refused), 8 * time.Second, false},
	} {
		w := probe.Window{Start: time.Second, End: 9 * time.Second}
		got := probe.JudgeLost(tc.samples, w, slo, tc.left)
		if tc.left == never {
			got = probe.JudgeSilent(tc.samples, w, slo)
		}
		if got.Sudden != tc.sudden || got.Sudden && (got.ErrorRatio > 0 || got.Requests == 0) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// An instance that goes away above a rate, whatever the search then does, is lost of few levels, each clearly below the one before.
func TestAKneeBelowWhatKills(t *testing.T) {
	t.Parallel()
	const knee = 65
	for _, start := range []float64{5, 40, 64, 70, 100, 900} {
		for _, kills := range []float64{knee, 1.2 * knee, 1.9 * knee} {
			s := probe.NewSearch(probe.Plan{SLO: slo, Start: start, MaxRate: 1e4, Precision: 0.05, MaxSteps: 24, Hold: 10 * time.Second})
			lost, ceiling := 0, math.Inf(1)
			for level, more := s.Next(); more; level, more = s.Next() {
				if level.Rate > ceiling {
					t.Errorf("from %v: %.1f requests/s after an instance was lost of %.1f", start, level.Rate, ceiling/0.9)
				}
				switch {
				case level.Rate <= knee:
					s.Record(held(level.Rate, 0.001))
					last := &s.Steps()[len(s.Steps())-1]
					last.Met, last.Broken, last.Latency = true, "", 0.02
				case level.Rate < kills:
					s.Record(held(level.Rate, 0.6))
				case s.Lost(held(level.Rate, 0.9), 2*time.Second):
					lost++
					for _, step := range s.Steps() {
						if step.Broken == probe.BrokenLost {
							ceiling = min(ceiling, 0.9*step.Offered)
						}
					}
				default:
					t.Errorf("from %v: %.1f requests/s are not blamed", start, level.Rate)
				}
			}
			got, err := s.Knee()
			if lost > 3 || err != nil || math.Abs(got.Rate/knee-1) > 0.25 {
				t.Errorf("from %v, lost above %.0f: %d lost, knee %+v, %v", start, kills, lost, got, err)
			}
		}
	}
}

// How a level went in which the generator lagged is not known: it is not tried again, and bounds the capacity from no side.
func TestALossWhileTheGeneratorLagsIsNoVerdict(t *testing.T) {
	t.Parallel()
	lagged := func(rate float64) probe.Step {
		s := held(rate, 0.9)
		s.Valid = false
		return s
	}
	s := probe.NewSearch(probe.Plan{SLO: slo, Start: 80, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second})
	s.Record(held(20, 0))
	if !s.Lost(lagged(80), time.Second) || s.Steps()[1].Valid {
		t.Fatalf("steps %+v", s.Steps())
	}
	for level, more := s.Next(); more; level, more = s.Next() {
		if level.Rate > 72 {
			t.Fatalf("%.1f requests/s after 80", level.Rate)
		}
		s.Record(held(level.Rate, 0))
	}
	if got, err := s.Knee(); err != nil || got != (probe.Knee{Rate: 72, Lower: 72, Upper: 72, Precise: true}) {
		t.Errorf("all below it is carried: %+v, %v", got, err)
	}
	// What goes on from it holds nothing more.
	after := probe.NewSearch(probe.Plan{SLO: slo, Start: 80, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second, Before: s.Steps()})
	if level, more := after.Next(); more {
		t.Errorf("then %+v", level)
	}
	first := probe.NewSearch(probe.Plan{SLO: slo, Start: 80, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second})
	first.Lost(lagged(80), time.Second)
	if level, more := first.Next(); !more || level.Rate != 20 {
		t.Errorf("after a first level: %+v, %v", level, more)
	}
	if got, err := first.Knee(); err == nil || !strings.Contains(err.Error(), "load generator") {
		t.Errorf("knee %+v, %v", got, err)
	}
}

// A small machine: whatever kills the instance starves the generator as well. It comes to an end, on the safe side.
func TestAKneeWhereTheGeneratorAlwaysLagsAtALoss(t *testing.T) {
	t.Parallel()
	const knee = 65
	for _, start := range []float64{5, 40, 70, 150} {
		for _, kills := range []float64{knee, 1.5 * knee, 3 * knee} {
			lost := 0
			hold := func(before []probe.Step) (probe.Knee, []probe.Step) {
				s := probe.NewSearch(probe.Plan{SLO: slo, Start: start, MaxRate: 1e4, Precision: 0.05, MaxSteps: 24, Hold: 10 * time.Second, Before: before})
				for level, more := s.Next(); more; level, more = s.Next() {
					step := held(level.Rate, 0)
					switch {
					case level.Rate > kills:
						lost++
						step = held(level.Rate, 0.9)
						step.Valid = false
						if !s.Lost(step, time.Second) {
							t.Fatalf("from %v: %.1f requests/s are not blamed", start, level.Rate)
						}
						continue
					case level.Rate > knee:
						step = held(level.Rate, 0.6)
					}
					s.Record(step)
				}
				got, err := s.Knee()
				if err != nil {
					t.Fatalf("from %v, lost above %.0f: %v", start, kills, err)
				}
				return got, s.Steps()
			}
			first, steps := hold(nil)
			once := lost
			second, _ := hold(steps)
			for _, got := range []probe.Knee{first, second} {
				if got.Rate > 1.1*knee || got.Rate < 0.4*knee {
					t.Errorf("from %v, lost above %.0f: knee %+v", start, kills, got)
				}
			}
			if once > 3 || lost > once+1 {
				t.Errorf("from %v, lost above %.0f: %d lost, %d in all", start, kills, once, lost)
			}
		}
	}
}

// answers are those of an instance that carries 50 requests/s, of which 100 are due each second. The generator is late for what is
// due in a part of it.
func answers(lagFrom, lagTo time.Duration) []probe.Sample {
	const gap, lag = 10 * time.Millisecond, 400 * time.Millisecond
	var out []probe.Sample
	for due := time.Duration(0); due < 9*time.Second; due += gap {
		s := probe.Sample{Due: due, Latency: gap + due}
		if due >= lagFrom && due < lagTo {
			s.Lag, s.Latency = lag, s.Latency+lag
		}
		out = append(out, s)
	}
	return out
}

func TestALevelIsJudgedByWhatCameBeforeTheLoss(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	for name, tc := range map[string]struct {
		from, to, left time.Duration
		valid, met     bool
	}{
		"no lag":                          {never, never, 8 * time.Second, true, false},
		"it lagged after the loss":        {6 * time.Second, never, 6 * time.Second, true, false},
		"it lagged before the loss":       {5 * time.Second, never, 8 * time.Second, true, false},
		"it lagged from the start":        {0, never, 8 * time.Second, false, false},
		"it lagged while all was well":    {20 * time.Millisecond, 3 * time.Second, 8 * time.Second, false, false},
		"gone before anything could come": {never, never, 50 * time.Millisecond, false, false},
	} {
		samples := answers(tc.from, tc.to)
		w := probe.Window{Start: time.Second, End: 9 * time.Second}
		if got := probe.JudgeLost(samples, w, slo, tc.left); got.Valid != tc.valid || got.Met != tc.met {
			t.Errorf("%s: %+v, want valid %v, met %v", name, got, tc.valid, tc.met)
		}
		if got := probe.Judge(samples, w, slo); got.Valid && tc.from < 8*time.Second {
			t.Errorf("%s: without a loss the lag is no reason: %+v", name, got)
		}
	}
}

// An instance that hangs of a flood is given up by its platform only later.
func TestAFloodIsBlamedOnceThePlatformGivesUp(t *testing.T) {
	t.Parallel()
	silent := func(rate float64, alive bool) probe.Step {
		s := held(rate, 1)
		s.ErrorRatio, s.Silent, s.Alive = 1, true, alive
		return s
	}
	for name, tc := range map[string]struct {
		steps   []probe.Step
		flooded bool
	}{
		"flooded":              {[]probe.Step{held(40, 0), silent(80, true), silent(36, false)}, true},
		"flooded at first":     {[]probe.Step{silent(80, true), silent(40, false)}, true},
		"hung from the start":  {[]probe.Step{silent(80, false)}, false},
		"hung at what it bore": {[]probe.Step{held(40, 0), silent(40, true)}, false},
		"it answers":           {[]probe.Step{held(40, 0), held(80, 0.9)}, false},
		"nothing was held":     {nil, false},
	} {
		s := probe.NewSearch(probe.Plan{SLO: slo, Start: 40, MaxRate: 1e4, Precision: 0.05, MaxSteps: 20, Hold: 10 * time.Second})
		for _, step := range tc.steps {
			s.Record(step)
		}
		if got := s.Flooded(); got != tc.flooded {
			t.Errorf("%s: flooded %v", name, got)
			continue
		} else if !got {
			continue
		}
		if _, more := s.Next(); more {
			t.Errorf("%s: it goes on by itself", name)
		}
		s.LostSilent()
		last := s.Steps()[len(s.Steps())-1]
		level, more := s.Next()
		if last.Broken != probe.BrokenLost || last.Offered != 80 || s.Flooded() || !more || level.Rate > 72 {
			t.Errorf("%s: lost of %+v, then %+v, %v", name, last, level, more)
		}
	}
}
