package scaling

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// whole compares every field of states and decisions, times by what they mean.
func whole() []cmp.Option {
	return []cmp.Option{cmp.Exporter(func(reflect.Type) bool { return true }), cmp.Comparer(time.Time.Equal)}
}

// reread is the state after it was written down and read.
func reread(t testing.TB, s State) State {
	t.Helper()
	data, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var out State
	if err := out.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	return out
}

// day is a workload with everything that a state remembers: a forecast, a budget, prices, and a size to move to.
func day(t int) (Input, time.Time) {
	now := start.Add(time.Duration(t) * 15 * time.Second)
	rate := 2000 - 1000*math.Cos(2*math.Pi*float64(t)/1440) + 100*math.Sin(float64(t*t))
	in := priced()
	c := &in.Config
	c.Budget, c.BudgetMemory, c.MaxInstances, c.FollowSize, c.SizeMemory = 0.95, 12*time.Hour, 1000, true, 3*time.Hour
	in.Startup = 10 * time.Minute
	in.Demand = []Point{{now.Add(-time.Second), rate}, {now, rate}}
	in.Instances = Instances{Desired: int(rate / 60), Ready: int(rate / 70)}
	in.Utilization = Utilization{Share: rate / 100 / float64(in.Instances.Ready), At: now.Add(-5 * time.Second), Instances: float64(in.Instances.Ready)}
	in.Size = InstanceSize{CPUCores: 1, MemoryBytes: 2 << 30}
	q := []Quantile{{0.05, rate * 0.8}, {0.5, rate}, {0.95, rate * 1.2}, {0.99, rate * 1.4}}
	in.Forecast = Forecast{Issued: now, Lead: q, Hold: q, Earned: true, Surprise: 100 * math.Sin(float64(t*t))}
	return in, now
}

// Decisions of a whole day are the same whether the state was written down and read back between them or not.
func TestADayOfRestartsIsLikeOneWithout(t *testing.T) {
	t.Parallel()
	var plain, kept State
	r := rand.New(rand.NewPCG(5, 6))
	known, moved, largest := 0, 0, 0
	for i := range 5760 {
		in, now := day(i)
		var want, got Decision
		want, plain = Decide(plain, in, now)
		got, kept = Decide(kept, in, now)
		if diff := cmp.Diff(want, got, whole()...); diff != "" {
			t.Fatalf("decision %d (-without a restart +after one):\n%s", i, diff)
		}
		if !has(got, HPAUntilKnown) {
			known++
		}
		if kept.Heading() != nil {
			moved++
		}
		if r.IntN(16) != 0 {
			continue
		}
		data, err := kept.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(data))
		kept = reread(t, kept)
		if diff := cmp.Diff(plain, kept, whole()...); diff != "" {
			t.Fatalf("state %d (-before +after):\n%s", i, diff)
		}
	}
	if known < 1000 || moved < 100 {
		t.Errorf("a verdict in %d decisions and a move in %d: the day did not have all there is", known, moved)
	}
	t.Logf("a state is at most %d bytes", largest)
	if largest > 100_000 {
		t.Errorf("a state of %d bytes is no small message", largest)
	}
}

// Whatever Decide leaves behind can be written down and read, but for numbers that are not finite.
func TestAnyStateCanBeKept(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	var s State
	now, kept, infinite := start, 0, 0
	for i := range 5_000 {
		if i%20 == 0 {
			s = State{}
		}
		now = now.Add(time.Duration(r.Int64N(int64(time.Minute))))
		in := anyInput(r, now)
		in.Config.MaxInstances = min(in.Config.MaxInstances, 1<<20)
		in.Config.MinInstances = min(in.Config.MinInstances, 1<<20)
		_, s = Decide(s, in, now)
		data, err := s.MarshalBinary()
		if err != nil {
			if !strings.Contains(err.Error(), "Inf") && !strings.Contains(err.Error(), "year") {
				t.Fatalf("case %d: %v", i, err)
			}
			infinite++
			continue
		}
		var again State
		if err := again.UnmarshalBinary(data); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		kept++
	}
	if infinite*10 > kept {
		t.Errorf("%d kept, %d not finite", kept, infinite)
	}
}

// A field that is added to what is remembered must be written down too, and its fading be thought of: see kept, readState and
// Resume, then name it here.
func TestEveryFieldIsKept(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		of   any
		want string
	}{
		{State{}, "at needs reactive hpa hpaHolds hpaFleet hpaSeen hpaSynced rivals ebbs outage ebbing lost indebted loads move"},
		{peak{}, "at need"},
		{cohort{}, "count ordered"},
		{glance{}, "at rate ready"},
		{rivals{}, "at seen hpa real own most beyond"},
		{rival{}, "holds needs low spent violated strained acted"},
		{ebbs{}, "past now"},
		{ebb{}, "from least"},
		{loads{}, "since at bins"},
		{move{}, "to since quiet"},
	} {
		var got []string
		for f := range fieldsOf(reflect.TypeOf(tc.of)) {
			got = append(got, f)
		}
		if names := strings.Join(got, " "); names != tc.want {
			t.Errorf("%T has %q, and is written down as %q", tc.of, names, tc.want)
		}
	}
}

func fieldsOf(t reflect.Type) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i).Name) {
				return
			}
		}
	}
}

// sealed is a body behind its checksum.
func sealed(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, castagnoli([]byte(body))), body...)
}

// late is the state after hours, with all that a state remembers.
func late(t testing.TB) State {
	t.Helper()
	var s State
	for i := range 1000 {
		in, now := day(i)
		_, s = Decide(s, in, now)
	}
	return s
}

func TestADoubtfulStateIsNoState(t *testing.T) {
	t.Parallel()
	data, err := late(t).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	body := string(data[4:])
	flipped := slices.Clone(data)
	flipped[len(flipped)/2] ^= 1
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":             {nil, "0 bytes"},
		"cut off":             {data[:len(data)-10], "damaged"},
		"a bit flipped":       {flipped, "damaged"},
		"too large":           {make([]byte, mostStateBytes+1), "bytes"},
		"not JSON":            {sealed("{"), "JSON"},
		"two states":          {sealed(body + body), "after top-level value"},
		"no version":          {sealed("{}"), "version 0"},
		"a later version":     {sealed(strings.Replace(body, `"version":1`, `"version":2,"needs":"of another type"`, 1)), "version 2: want 1"},
		"negative instances":  {sealed(strings.Replace(body, `"hpa":{"holds":`, `"hpa":{"holds":-`, 1)), "hpa.holds"},
		"more than it holds":  {sealed(strings.Replace(body, `"hpa":{"holds":`, `"hpa":{"holds":9`, 1)), "hpa.fleet: is not what it holds"},
		"no fleet":            {sealed(`{"version":1,"at":1e18,"rivals":{"seen":1,"own":[]},"hpa":{"holds":0,"memory":{}}}`), ""},
		"spent below nothing": {sealed(strings.Replace(body, `"spent":`, `"spent":-`, 1)), "rivals.hpa: a negative number"},
		"no time of its own":  {sealed(strings.Replace(body, `"at":`, `"at":0,"was":`, 1)), "a time that cannot be"},
		"before all time":     {sealed(strings.Replace(body, `"synced":`, `"synced":1,"was":`, 1)), "hpa.synced: a time that cannot be"},
		"a move to nowhere":   {sealed(strings.Replace(body, `"move":{`, `"move":{"to":{},"was":{`, 1) + "}"), "move.to"},
		"an odd memory":       {sealed(strings.Replace(body, `"memory":{`, `"memory":{"ups":[[-1,5]],"was":{`, 1)), ""},
		"a bin of no loads":   {sealed(strings.Replace(body, `"bin":`, `"bin":-1,"was":`, 1)), "a bin that is not there"},
		"needs that rise":     {sealed(`{"version":1,"at":1767225600000000000,"needs":[[1767225500000000000,3],[1767225550000000000,4]]}`), "needs: does not fall"},
		"compared with none": {
			sealed(strings.Replace(strings.Replace(body, `"hpa":{"holds":`, `"hpa":{"holds":0,"was":`, 1), `"fleet":`, `"was2":`, 1)), "no fleet",
		},
	} {
		s := State{hpaHolds: 42}
		err := s.UnmarshalBinary(tc.data)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if s.hpaHolds != 42 {
			t.Errorf("%s: refused, and changed the state", name)
		}
	}
}

// A later release may remember more, and other risks: the rest of it still holds.
func TestAStateOfAnotherReleaseOfThisVersion(t *testing.T) {
	t.Parallel()
	was := late(t)
	data, err := was.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	more := strings.ReplaceAll(string(data[4:]), `"spent":`, `"wasted":3,"spent":`)
	var got State
	if err := got.UnmarshalBinary(sealed(more)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, got, whole()...); diff != "" {
		t.Errorf("with more in it (-want +got):\n%s", diff)
	}
	other := strings.Replace(string(data[4:]), `"risk":0.25`, `"risk":0.26`, 1)
	if err := got.UnmarshalBinary(sealed(other)); err != nil {
		t.Fatal(err)
	}
	if got.Played() != 0 || got.rivals.hpa.spent != 0 || got.loads == nil || got.hpaHolds != was.hpaHolds {
		t.Errorf("after other risks: %s played, %d held", got.Played(), got.hpaHolds)
	}
}

// Whatever the bytes are, reading them ends in an error or in a state that Decide can go on from and that does not shrink anything.
func FuzzUnmarshalState(f *testing.F) {
	data, err := late(f).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	empty, err := State{}.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	// An HPA that was never known, and yet has a memory.
	odd := strings.NewReplacer(`"hpa":{"holds"`, `"hpa":{"was"`, `"fleet"`, `"were"`, `"rivals"`, `"others"`).Replace(string(data[4:]))
	for _, d := range [][]byte{data, empty, sealed(odd), nil, []byte("CRC"), []byte(strings.Repeat("[", 5000))} {
		f.Add(d, true)
		f.Add(d, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal { // the checksum would keep the fuzzer out
			data = sealed(string(data[min(4, len(data)):]))
		}
		var s State
		if err := s.UnmarshalBinary(data); err != nil {
			if diff := cmp.Diff(State{}, s, whole()...); diff != "" {
				t.Fatal("refused, and changed the state")
			}
			return
		}
		if again := reread(t, s); !cmp.Equal(s, again, whole()...) {
			t.Fatal("it is another state when it is written down again")
		}
		in, now := day(1001)
		for _, at := range []time.Time{now, s.At(), s.At().Add(time.Minute), s.At().Add(time.Hour)} {
			refresh(&in, at)
			d, next := Decide(s.Resume(in, at), in, at)
			checkPromises(t, 0, in, d, at)
			if d.Production.Instances < in.Instances.Desired {
				t.Fatalf("shrunk from %d to %d: %v", in.Instances.Desired, d.Production.Instances, texts(d))
			}
			_, _ = Decide(next, in, at.Add(in.Config.Interval))
		}
	})
}

// refresh makes the input one of a time.
func refresh(in *Input, now time.Time) {
	rate := in.Demand[0].PerSecond
	in.Demand = []Point{{now.Add(-time.Second), rate}, {now, rate}}
	in.Forecast.Issued, in.Utilization.At = now, now
}
