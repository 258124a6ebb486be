// Package compare says where the shadow answers otherwise than production, with the noise removed the way Diffy does it
// (Twitter, 2015): the same request goes to two equal shadows as well, and what differs between those is noise. A field that
// differs from production no more often than the shadows differ from each other says nothing.
//
//	production --tap--> status, size, type, shape of the body
//	                         |                                   raw:   production and first differ
//	the same request --> first shadow --> the same four  ------+ noise: first and second differ in it
//	                 \-> second shadow --> the same four ------/
//
// What is not known of production, or of a shadow, is not compared: it is neither equal nor a difference. Shapes are compared
// where all three answered with the same status, for an error has a shape of its own.
package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
)

const (
	// A difference is reported when it is relative of what differs at all, and absolute of what was compared, above the noise:
	// Diffy's thresholds.
	relative, absolute = 0.20, 0.0003
	// fewest comparisons of a route say something.
	fewest = 20
	// maxRoutes, maxFields and maxSamples bound the memory.
	maxRoutes, maxFields, maxSamples = 200, 100, 3
	// sizeStep: sizes that differ by less than a twentieth are equal; a clock or a price in the answer makes that.
	sizeStep = 1.05
)

// Kind is what of an answer is compared.
type Kind string

// Kinds of differences.
const (
	Status Kind = "status"
	Size   Kind = "size"
	Type   Kind = "type"
	Shape  Kind = "shape"
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Status, Size, Type, Shape} }

// Answer is what is known of a response.
type Answer struct {
	Status int
	Bytes  uint64
	// Media is the type of the body without parameters; empty when it is not known.
	Media string
	// Shape of the body; nil when it is not known.
	Shape *bodyshape.Shape
}

// Exchange is one request's answers: production's, and those of two equal shadows.
type Exchange struct {
	Route string
	// Session tells whose it is: names in the shadow's answers are written out once several sessions' answers have them.
	Session                   string
	Production, First, Second Answer
}

// Outcome says what became of the comparison of shapes.
type Outcome string

// Outcomes.
const (
	Compared          Outcome = "compared"
	ProductionUnknown Outcome = "production_unknown" // the copy says why
	ShadowUnknown     Outcome = "shadow_unknown"     // one of them had no JSON, or too much of it
	OtherStatus       Outcome = "other_status"       // and so it is another answer
)

// Differ is safe for concurrent use.
type Differ struct {
	names *bodyshape.Vocabulary

	mu       sync.Mutex
	routes   map[string]*route
	compared int
}

// route holds, by kind, how many answers were compared and what differed.
type route struct {
	compared map[Kind]int
	fields   map[place]*field
}

// place is a kind and, of a shape, the path of a field.
type place struct {
	kind Kind
	path string
}

type field struct {
	raw, noise int
	samples    []string
}

// NewDiffer returns an empty one.
func NewDiffer() *Differ {
	return &Differ{routes: map[string]*route{}, names: bodyshape.NewVocabulary(bodyshape.IsName)}
}

// Add compares the answers to one request.
func (d *Differ) Add(e Exchange) Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	outcome := e.outcome()
	r := d.routes[e.Route]
	if r == nil {
		if len(d.routes) >= maxRoutes {
			return outcome
		}
		r = &route{compared: map[Kind]int{}, fields: map[place]*field{}}
		d.routes[e.Route] = r
	}
	d.compared++
	p, a, b := e.Production, e.First, e.Second
	r.compare(Status, fmt.Sprint(a.Status, ", want ", p.Status), a.Status == p.Status, a.Status == b.Status)
	r.compare(Size, fmt.Sprint(a.Bytes, " bytes, want ", p.Bytes), step(a.Bytes) == step(p.Bytes), step(a.Bytes) == step(b.Bytes))
	if p.Media != "" {
		r.compare(Type, cmp.Or(a.Media, "none")+", want "+p.Media, a.Media == p.Media, a.Media == b.Media)
	}
	if outcome == Compared {
		r.compareShapes(e, d.names.Describe(e.Route, e.Session, a.Shape))
	}
	return outcome
}

func (e Exchange) outcome() Outcome {
	p, a, b := e.Production, e.First, e.Second
	switch {
	case p.Shape == nil:
		return ProductionUnknown
	case a.Status != p.Status || b.Status != p.Status:
		return OtherStatus
	case a.Shape == nil || b.Shape == nil:
		return ShadowUnknown
	}
	return Compared
}

// step makes sizes that are nearly the same equal.
func step(bytes uint64) float64 { return math.Round(math.Log(float64(bytes)+1) / math.Log(sizeStep)) }

// compare counts one comparison: whether the first shadow is right, and whether the second is the same.
func (r *route) compare(kind Kind, how string, right, same bool) {
	r.compared[kind]++
	if !right {
		r.at(place{kind: kind}).differ(how)
	}
	if !same {
		r.at(place{kind: kind}).noise++
	}
}

// compareShapes holds both shadows' against production's: what differs from it in one of them only is noise.
func (r *route) compareShapes(e Exchange, shown *bodyshape.Shape) {
	r.compared[Shape]++
	var differs [2]map[string]string
	for i, shadow := range []Answer{e.First, e.Second} {
		differs[i] = map[string]string{}
		bodyshape.Compare(e.Production.Shape, shadow.Shape, shown, func(path, how string) { differs[i][path] = how })
	}
	for path, how := range differs[0] {
		f := r.at(place{Shape, path})
		if f.differ(how); differs[1][path] != how {
			f.noise++
		}
	}
	for path := range differs[1] {
		if differs[0][path] == "" {
			r.at(place{Shape, path}).noise++
		}
	}
}

func (r *route) at(p place) *field {
	f := r.fields[p]
	if f == nil {
		if len(r.fields) >= maxFields {
			p.path = "other"
			if f = r.fields[p]; f != nil {
				return f
			}
		}
		f = &field{}
		r.fields[p] = f
	}
	return f
}

func (f *field) differ(how string) {
	f.raw++
	if len(f.samples) < maxSamples && !slices.Contains(f.samples, how) {
		f.samples = append(f.samples, how)
	}
}

// Difference is what of a route's answers differs.
type Difference struct {
	Route string `json:"route"`
	Kind  Kind   `json:"kind"`
	// Path of the field, of a shape.
	Path string `json:"path,omitempty"`
	// How are a few of the differences: what the shadow answered, or has not.
	How []string `json:"how"`
	// Compared is how many answers were; Raw the share that differs from production, Noise the share that differs between
	// equal shadows.
	Compared int     `json:"compared"`
	Raw      float64 `json:"raw_ratio"`
	Noise    float64 `json:"noise_ratio"`
}

// Differences are those beyond the noise, the largest first.
func (d *Differ) Differences() []Difference {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []Difference{}
	for name, r := range d.routes {
		for p, f := range r.fields {
			compared := r.compared[p.kind]
			over, n := float64(f.raw-f.noise), float64(compared)
			if compared < fewest || over <= 0 || over/float64(f.raw+f.noise) <= relative || over/n <= absolute {
				continue
			}
			out = append(out, Difference{
				Route: name, Kind: p.kind, Path: p.path, How: slices.Clone(f.samples), Compared: compared, Raw: float64(f.raw) / n, Noise: float64(f.noise) / n,
			})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(b.Raw-b.Noise, a.Raw-a.Noise), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path))
	})
	return out
}

// Compared is the number of requests whose answers were compared.
func (d *Differ) Compared() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compared
}
