package bodyshape

import (
	"hash/maphash"
	"sync"
)

const (
	// enoughSessions must have a name in the same place before it is one: what few sessions see may be about them.
	enoughSessions = 3
	// maxCandidates is how many names one place may have shown; a place with more holds a map.
	maxCandidates = 4 * maxNames
	// maxPlaces bounds the names and places that are kept in all; beyond it no name is learnt.
	maxPlaces = 20_000
)

// Vocabulary learns which names belong to an interface. It is safe for concurrent use.
type Vocabulary struct {
	seed  maphash.Seed
	admit func(name string) bool

	mu     sync.Mutex
	routes map[string]*place
	places int
}

// NewVocabulary returns an empty one. A name that admit refuses is never learnt.
func NewVocabulary(admit func(name string) bool) *Vocabulary {
	return &Vocabulary{seed: maphash.MakeSeed(), admit: admit, routes: map[string]*place{}}
}

// place is where fields are found: a path of a route's answers.
type place struct {
	names map[string]*word
	rest  *place
	items *place
	isMap bool
}

// word is a name in its place.
type word struct {
	place
	// sessions are the first that had it, and seen is how many those are.
	sessions [enoughSessions]uint64
	seen     int
}

// see notes a session, and reports whether there are enough.
func (w *word) see(session uint64) bool {
	if w.seen == enoughSessions {
		return true
	}
	for _, s := range w.sessions[:w.seen] {
		if s == session {
			return false
		}
	}
	w.sessions[w.seen] = session
	w.seen++
	return w.seen == enoughSessions
}

// Describe learns from the shape of an answer to a session's request, and returns what of it may be told: the fields whose
// names are known by now, the others taken together.
func (v *Vocabulary) Describe(route, session string, s *Shape) *Shape {
	id := maphash.String(v.seed, session)
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.routes[route]
	if at == nil && v.grow() {
		at = &place{}
		v.routes[route] = at
	}
	return v.describe(at, id, s)
}

// describe walks down; at is nil where nothing can be learnt any more.
func (v *Vocabulary) describe(at *place, session uint64, s *Shape) *Shape {
	out := &Shape{Types: s.Types, isMap: s.isMap}
	var rest *Shape
	if s.Rest != nil {
		rest = s.Rest.clone()
	}
	for name, child := range s.Fields {
		if w := v.word(at, name); w != nil && w.see(session) {
			out.set(name, v.describe(&w.place, session, child))
			continue
		}
		if rest == nil {
			rest = &Shape{}
		}
		rest.merge(child)
	}
	if rest != nil {
		out.Rest = v.describe(v.below(at, func(p *place) **place { return &p.rest }), session, rest)
	}
	if s.Items != nil {
		out.Items = v.describe(v.below(at, func(p *place) **place { return &p.items }), session, s.Items)
	}
	return out
}

// word is what is known of a name in a place; nil when that is nothing and stays so.
func (v *Vocabulary) word(at *place, name string) *word {
	if at == nil || at.isMap {
		return nil
	}
	if w := at.names[name]; w != nil {
		return w
	}
	if len(at.names) >= maxCandidates {
		for _, w := range at.names {
			v.places -= w.size()
		}
		at.isMap, at.names = true, nil
		return nil
	}
	if !v.admit(name) || !v.grow() {
		return nil
	}
	if at.names == nil {
		at.names = map[string]*word{}
	}
	w := &word{}
	at.names[name] = w
	return w
}

// below is a place under another, made when there is none yet and it may be.
func (v *Vocabulary) below(at *place, which func(*place) **place) *place {
	if at == nil {
		return nil
	}
	next := which(at)
	if *next == nil && v.grow() {
		*next = &place{}
	}
	return *next
}

// grow takes one of the places that there may be.
func (v *Vocabulary) grow() bool {
	if v.places >= maxPlaces {
		return false
	}
	v.places++
	return true
}

// size counts a place and all below it.
func (p *place) size() int {
	n := 1
	for _, w := range p.names {
		n += w.size()
	}
	for _, next := range []*place{p.rest, p.items} {
		if next != nil {
			n += next.size()
		}
	}
	return n
}
