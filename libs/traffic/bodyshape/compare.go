package bodyshape

import "strings"

// Missing and Added are what Compare says of fields that only one of two shapes has.
const (
	Missing = "missing"
	Added   = "added"
)

// Compare calls differ for each path at which got differs from want, once, with what it is there: Missing, Added, or the two
// types ("null, want number"). Below a difference no other is named. A path begins with $; [] are the elements of a list, *
// the fields without a name, and only names that want or shown has are written out.
//
// Where want has fields without a name, any field of got that want does not know may be one of them, and is compared as such.
// Null is equal to nothing but itself where it stands alone, and makes no difference beside other types. What an empty list
// would hold is not known: that it is empty where the other is not is a difference, and nothing below is.
func Compare(want, got, shown *Shape, differ func(path, how string)) {
	c := comparison{differ: differ}
	c.walk([]string{"$"}, want, got, shown)
}

type comparison struct{ differ func(path, how string) }

func (c comparison) walk(path []string, want, got, shown *Shape) {
	if w, g := sure(want.Types), sure(got.Types); w != g {
		c.at(path, "", g.String()+", want "+w.String())
		return
	}
	c.fields(path, want, got, shown)
	switch {
	case want.Items != nil && got.Items != nil:
		c.walk(append(path, "[]"), want.Items, got.Items, shown.itemsShown())
	case want.Items != nil:
		c.at(path, "[]", Missing)
	case got.Items != nil:
		c.at(path, "[]", Added)
	}
}

// sure leaves out null where it stands beside another type: whether an example of it was seen is chance.
func sure(t Types) Types {
	if t != Null {
		t &^= Null
	}
	return t
}

func (c comparison) fields(path []string, want, got, shown *Shape) {
	if got.isMap && len(want.Fields) > 0 {
		// Its names are not known, so theirs do not count either.
		want = want.clone()
		want.fold()
	}
	for name, child := range want.Fields {
		if other := got.Fields[name]; other != nil {
			c.walk(append(path, "."+name), child, other, shown.fieldShown(name))
		} else {
			c.at(path, "."+name, Missing)
		}
	}
	if want.Rest == nil {
		c.added(path, want, got, shown)
		return
	}
	rest := others(want, got)
	if rest == nil {
		c.at(path, ".*", Missing)
		return
	}
	c.walk(append(path, ".*"), want.Rest, rest, shown.restShown())
}

// added names what got has and want, which knows all its fields, has not.
func (c comparison) added(path []string, want, got, shown *Shape) {
	nameless := got.Rest != nil
	for name := range got.Fields {
		switch {
		case want.Fields[name] != nil:
		case shown.fieldShown(name) != nil:
			c.at(path, "."+name, Added)
		default:
			nameless = true
		}
	}
	if nameless {
		c.at(path, ".*", Added)
	}
}

// others are the fields of got that have no name in want, taken together; nil when there are none.
func others(want, got *Shape) *Shape {
	var rest *Shape
	if got.Rest != nil {
		rest = got.Rest.clone()
	}
	for name, child := range got.Fields {
		if want.Fields[name] == nil {
			if rest == nil {
				rest = &Shape{}
			}
			rest.merge(child)
		}
	}
	return rest
}

func (c comparison) at(path []string, last, how string) {
	c.differ(strings.Join(path, "")+last, how)
}

// What may be shown of a field; nil when nothing may.
func (s *Shape) fieldShown(name string) *Shape {
	if s == nil {
		return nil
	}
	return s.Fields[name]
}

func (s *Shape) restShown() *Shape {
	if s == nil {
		return nil
	}
	return s.Rest
}

func (s *Shape) itemsShown() *Shape {
	if s == nil {
		return nil
	}
	return s.Items
}
