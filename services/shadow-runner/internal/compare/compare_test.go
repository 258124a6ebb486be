package compare_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/compare"
)

func ok(size uint64) compare.Answer { return compare.Answer{Status: 200, Bytes: size} }

func TestNoiseIsNoDifference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	d := compare.NewDiffer()
	size := func() uint64 { return uint64(1000 + rng.IntN(2000)) } // of a list whose length is random
	for range 500 {
		d.Add("GET /random", ok(size()), ok(size()), ok(size()))
		d.Add("GET /same", ok(500), ok(505), ok(495))
		d.Add("GET /smaller", ok(5000), ok(500), ok(500))
		status := compare.Answer{Status: 200, Bytes: 10}
		if rng.IntN(10) == 0 {
			status.Status = 404
		}
		d.Add("GET /sometimes", ok(10), status, ok(10))
	}
	got := d.Differences()
	if len(got) != 1 && len(got) != 2 || got[0].Route != "GET /smaller" || got[0].Field != "size" || got[0].Raw != 1 || got[0].Noise != 0 || len(got[0].Samples) != 3 || got[0].Compared != 500 {
		t.Errorf("differences %+v", got)
	}
	for _, g := range got[1:] {
		if g.Route != "GET /sometimes" || g.Field != "status" {
			t.Errorf("reported %+v", g)
		}
	}
	if d.Compared() != 2000 {
		t.Errorf("compared %d", d.Compared())
	}
}

func TestADifferenceOfTheStatus(t *testing.T) {
	t.Parallel()
	d := compare.NewDiffer()
	for i := range 100 {
		a := ok(10)
		if i%5 == 0 {
			a.Status = 500
		}
		d.Add("GET /", ok(10), a, a)
	}
	got := d.Differences()
	if len(got) != 1 || got[0].Field != "status" || got[0].Raw != 0.2 || got[0].Samples[0] != "500, want 200" {
		t.Errorf("differences %+v", got)
	}
	few := compare.NewDiffer()
	for range 19 {
		few.Add("GET /", ok(10), compare.Answer{Status: 500}, compare.Answer{Status: 500})
	}
	if got := few.Differences(); len(got) != 0 {
		t.Errorf("nineteen requests say %+v", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	d := compare.NewDiffer()
	body := "{"
	for i := range 500 {
		body += fmt.Sprintf(`"k%d": %d,`, i, i)
	}
	a := compare.Answer{Status: 200, Kind: "application/json", Body: []byte(body + `"end": {"a": [{"b": null}]}}`)}
	for i := range 1000 {
		d.Add(fmt.Sprint("GET /", i), ok(1), a, ok(1))
	}
	if d.Compared() != 200 {
		t.Errorf("%d routes are kept", d.Compared())
	}
}

func FuzzAdd(f *testing.F) {
	f.Add("application/json", []byte(`{"a":[1,{"b":"c"}]}`), []byte(`[]`))
	f.Fuzz(func(_ *testing.T, kind string, a, b []byte) {
		d := compare.NewDiffer()
		d.Add("r", ok(1), compare.Answer{Kind: kind, Body: a}, compare.Answer{Kind: kind, Body: b})
		_ = d.Differences()
	})
}
