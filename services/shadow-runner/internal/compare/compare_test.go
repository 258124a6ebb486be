package compare_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/compare"
)

func ok(size uint64) compare.Answer { return compare.Answer{Status: 200, Bytes: size} }

// document is an answer with a JSON body.
func document(t testing.TB, body string) compare.Answer {
	t.Helper()
	s, err := bodyshape.Read("", []byte(body))
	if err != nil {
		t.Fatalf("%v of %s", err, body)
	}
	return compare.Answer{Status: 200, Bytes: 100, Media: "application/json", Shape: s}
}

func exchange(route string, production, first, second compare.Answer) compare.Exchange {
	return compare.Exchange{Route: route, Session: "s", Production: production, First: first, Second: second}
}

func TestNoiseIsNoDifference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	d := compare.NewDiffer()
	size := func() uint64 { return uint64(1000 + rng.IntN(2000)) } // of a list whose length is random
	for range 500 {
		d.Add(exchange("GET /random", ok(size()), ok(size()), ok(size())))
		d.Add(exchange("GET /same", ok(500), ok(505), ok(495)))
		d.Add(exchange("GET /smaller", ok(5000), ok(500), ok(500)))
		status := compare.Answer{Status: 200, Bytes: 10}
		if rng.IntN(10) == 0 {
			status.Status = 404
		}
		d.Add(exchange("GET /sometimes", ok(10), status, ok(10)))
	}
	got := d.Differences()
	if len(got) != 1 && len(got) != 2 || got[0].Route != "GET /smaller" || got[0].Kind != compare.Size || got[0].Raw != 1 || got[0].Noise != 0 || len(got[0].How) != 1 || got[0].How[0] != "500 bytes, want 5000" || got[0].Compared != 500 {
		t.Errorf("differences %+v", got)
	}
	for _, g := range got[1:] {
		if g.Route != "GET /sometimes" || g.Kind != compare.Status {
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
		d.Add(exchange("GET /", ok(10), a, a))
	}
	want := []compare.Difference{{Route: "GET /", Kind: compare.Status, How: []string{"500, want 200"}, Compared: 100, Raw: 0.2}}
	if diff := cmp.Diff(want, d.Differences()); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
	few := compare.NewDiffer()
	for range 19 {
		few.Add(exchange("GET /", ok(10), compare.Answer{Status: 500}, compare.Answer{Status: 500}))
	}
	if got := few.Differences(); len(got) != 0 {
		t.Errorf("nineteen requests say %+v", got)
	}
}

func TestAFieldThatTheShadowLacks(t *testing.T) {
	t.Parallel()
	d := compare.NewDiffer()
	whole, without := `{"items":[{"id":1,"price":2.5}]}`, `{"items":[{"id":1}]}`
	for i := range 100 {
		shadow := document(t, whole)
		if i < 12 {
			shadow = document(t, without)
		}
		if got := d.Add(exchange("GET /items", document(t, whole), shadow, shadow)); got != compare.Compared {
			t.Fatalf("outcome %s", got)
		}
	}
	want := []compare.Difference{{Route: "GET /items", Kind: compare.Shape, Path: "$.items[].price", How: []string{"missing"}, Compared: 100, Raw: 0.12}}
	if diff := cmp.Diff(want, d.Differences()); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
}

// TestNoiseOfShapes has a field that comes and goes in all answers alike, one that only the shadow's second time has not, and
// one that is another type in the shadow each time.
func TestNoiseOfShapes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(2, 2))
	d := compare.NewDiffer()
	answer := func(price string) compare.Answer {
		advert := ""
		if rng.IntN(2) == 0 {
			advert = `,"advert":{"text":"x"}`
		}
		return document(t, `{"id":1,"price":`+price+advert+`}`)
	}
	for range 400 {
		d.Add(exchange("GET /", answer("2.5"), answer(`"2.5"`), answer(`"2.5"`)))
	}
	got := d.Differences()
	if len(got) != 1 || got[0].Path != "$.price" || got[0].Raw != 1 || got[0].Noise != 0 || got[0].How[0] != "string, want number" {
		t.Errorf("differences %+v", got)
	}
}

// TestAnErrorPage is a replica that answers 200 whatever happens.
func TestAnErrorPage(t *testing.T) {
	t.Parallel()
	d := compare.NewDiffer()
	for i := range 30 {
		page := compare.Answer{Status: 200, Bytes: 100, Media: "text/html"}
		if got := d.Add(exchange("GET /page", document(t, `{"id":1}`), page, page)); got != compare.ShadowUnknown {
			t.Fatalf("outcome %s", got)
		}
		failure := document(t, `{"error":"no","at":{"line":1}}`)
		e := exchange("GET /error", document(t, `{"id":1}`), failure, failure)
		e.Session = fmt.Sprint(i)
		d.Add(e)
	}
	var got []string
	for _, g := range d.Differences() {
		got = append(got, fmt.Sprint(g.Route, " ", g.Kind, " ", g.Path, " ", g.How, " ", g.Raw))
	}
	want := strings.Join([]string{
		"GET /error shape $.id [missing] 1", "GET /page type  [text/html, want application/json] 1",
		// Names of the shadow's own are written out from the third session on.
		"GET /error shape $.at [added] 0.9333333333333333", "GET /error shape $.error [added] 0.9333333333333333",
		"GET /error shape $.* [added] 0.06666666666666667",
	}, "\n")
	if joined := strings.Join(got, "\n"); joined != want {
		t.Errorf("got\n%s\nwant\n%s", joined, want)
	}
}

// TestWhatIsNotKnownIsNotCompared: it is neither equal nor a difference.
func TestWhatIsNotKnownIsNotCompared(t *testing.T) {
	t.Parallel()
	d := compare.NewDiffer()
	known := document(t, `{"id":1}`)
	failed := compare.Answer{Status: 500, Shape: document(t, `{"error":1}`).Shape, Media: "application/json"}
	for range 19 {
		d.Add(exchange("GET /", known, document(t, `{}`), document(t, `{}`)))
	}
	for range 50 {
		for _, c := range []struct {
			e    compare.Exchange
			want compare.Outcome
		}{
			{exchange("GET /", ok(100), known, known), compare.ProductionUnknown},
			{exchange("GET /", known, failed, failed), compare.OtherStatus},
			{exchange("GET /", known, known, failed), compare.OtherStatus},
			{exchange("GET /", known, known, ok(100)), compare.ShadowUnknown},
		} {
			if got := d.Add(c.e); got != c.want {
				t.Fatalf("outcome %s, want %s", got, c.want)
			}
		}
	}
	for _, g := range d.Differences() {
		if g.Kind == compare.Shape || g.Kind == compare.Type && g.Compared != 169 {
			t.Errorf("reported %+v", g)
		}
	}
	d.Add(exchange("GET /", known, document(t, `{}`), document(t, `{}`)))
	for _, g := range d.Differences() {
		if g.Kind == compare.Shape && (g.Compared != 20 || g.Raw != 1) {
			t.Errorf("reported %+v", g)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	d := compare.NewDiffer()
	for i := range 1000 {
		d.Add(exchange(fmt.Sprint("GET /", i), ok(1), ok(1), ok(1)))
	}
	if d.Compared() != 200 {
		t.Errorf("%d routes are kept", d.Compared())
	}
	d = compare.NewDiffer()
	for i := range 150 {
		body := fmt.Sprintf(`{"a%c%c%c":1}`, 'g'+i%20, 'g'+i/20%20, 'g'+i/400%20)
		for range 20 {
			d.Add(exchange("GET /", document(t, body), document(t, `{}`), document(t, `{}`)))
		}
	}
	if n := len(d.Differences()); n > 101 || n < 50 {
		t.Errorf("%d fields are kept", n)
	}
}

func FuzzAdd(f *testing.F) {
	f.Add([]byte(`{"b":1}`), []byte(`{"a":[1,{"b":"c"}]}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, p, a, b []byte) {
		d := compare.NewDiffer()
		e := exchange("r", ok(1), ok(1), ok(1))
		e.Production.Shape, _ = bodyshape.Read("", p) // nil is not known
		e.First.Shape, _ = bodyshape.Read("", a)
		e.Second.Shape, _ = bodyshape.Read("", b)
		d.Add(e)
		for range 30 {
			e.Second = e.First
			d.Add(e)
		}
		for _, g := range d.Differences() {
			if g.Raw < g.Noise || g.Raw > 1 || g.Kind == compare.Shape && g.Path == "" {
				t.Errorf("%+v", g)
			}
		}
	})
}
