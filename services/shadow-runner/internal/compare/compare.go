// Package compare says where the shadow answers otherwise than production, with the noise removed the way Diffy does it
// (Twitter, 2015): the same request goes to two equal shadows as well, and what differs between those is noise. A field that
// differs from production no more often than the shadows differ from each other says nothing.
//
// Production's answer is known by its status and size only; between the shadows the shape of the body is compared too, which
// shows what of it cannot be relied upon.
package compare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
)

const (
	// A difference is reported when it is relative of what differs at all, and absolute of what was compared, above the noise:
	// Diffy's thresholds.
	relative, absolute = 0.20, 0.0003
	// fewest comparisons of a route say something.
	fewest = 20
	// maxRoutes, maxFields and maxSamples bound the memory.
	maxRoutes, maxFields, maxSamples = 200, 100, 3
	maxDepth                         = 6
	// sizeStep: sizes that differ by less than a twentieth are equal; a clock or a price in the answer makes that.
	sizeStep = 1.05
)

// Answer is what is known of a response.
type Answer struct {
	Status int
	Bytes  uint64
	// Kind is the content type and Body the beginning of the body; empty of production.
	Kind string
	Body []byte
}

// Differ is safe for concurrent use.
type Differ struct {
	mu     sync.Mutex
	routes map[string]*route
}

type route struct {
	compared int
	fields   map[string]*field
}

type field struct {
	raw, noise int
	samples    []string
}

// NewDiffer returns an empty one.
func NewDiffer() *Differ { return &Differ{routes: map[string]*route{}} }

// Add compares one request's answers: production's, and those of two equal shadows.
func (d *Differ) Add(name string, production, first, second Answer) {
	p, a, b := facts(production, false), facts(first, true), facts(second, true)
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.routes[name]
	if r == nil {
		if len(d.routes) >= maxRoutes {
			return
		}
		r = &route{fields: map[string]*field{}}
		d.routes[name] = r
	}
	r.compared++
	for key, value := range p {
		if a[key] != value {
			f := r.at(key)
			f.raw++
			if len(f.samples) < maxSamples {
				f.samples = append(f.samples, fmt.Sprintf("%s, want %s", a[key], value))
			}
		}
	}
	for key := range union(a, b) {
		if a[key] != b[key] {
			r.at(key).noise++
		}
	}
}

func union(a, b map[string]string) map[string]bool {
	out := map[string]bool{}
	for key := range a {
		out[key] = true
	}
	for key := range b {
		out[key] = true
	}
	return out
}

func (r *route) at(key string) *field {
	f := r.fields[key]
	if f == nil {
		if len(r.fields) >= maxFields {
			key = "other"
			if f = r.fields[key]; f != nil {
				return f
			}
		}
		f = &field{}
		r.fields[key] = f
	}
	return f
}

// facts are what answers are compared by.
func facts(a Answer, body bool) map[string]string {
	out := map[string]string{"status": fmt.Sprint(a.Status), "size": fmt.Sprint(int(math.Round(math.Log(float64(a.Bytes)+1) / math.Log(sizeStep))))}
	var document any
	if body && strings.Contains(a.Kind, "json") && json.Unmarshal(a.Body, &document) == nil {
		shape(out, "$", document, maxDepth)
	}
	return out
}

// shape notes which fields there are and of which type; elements of a list have one shape.
func shape(out map[string]string, path string, v any, depth int) {
	if len(out) >= maxFields || depth == 0 {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		out[path] = "object"
		for key, value := range v {
			shape(out, path+"."+key, value, depth-1)
		}
	case []any:
		out[path] = "list"
		if len(v) > 0 {
			shape(out, path+"[]", v[0], depth-1)
		}
	default:
		out[path] = fmt.Sprintf("%T", v)
	}
}

// Difference is one field of one route.
type Difference struct {
	Route, Field string
	// Compared is how many answers were; Raw the share that differs from production, Noise the share that differs between
	// equal shadows.
	Compared   int
	Raw, Noise float64
	// Samples of what differed, a few.
	Samples []string
}

// Differences are those beyond the noise, the largest first.
func (d *Differ) Differences() []Difference {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Difference
	for name, r := range d.routes {
		for key, f := range r.fields {
			over, n := float64(f.raw-f.noise), float64(r.compared)
			if r.compared < fewest || over <= 0 || over/float64(f.raw+f.noise) <= relative || over/n <= absolute {
				continue
			}
			out = append(out, Difference{Route: name, Field: key, Compared: r.compared, Raw: float64(f.raw) / n, Noise: float64(f.noise) / n, Samples: slices.Clone(f.samples)})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(b.Raw-b.Noise, a.Raw-a.Noise), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Field, b.Field))
	})
	return out
}

// Compared is the number of requests whose answers were compared.
func (d *Differ) Compared() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, r := range d.routes {
		n += r.compared
	}
	return n
}
