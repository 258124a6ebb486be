package bodyshape

import (
	"errors"
	"maps"
	"slices"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Proto is the wire form.
func (s *Shape) Proto() *foreshadowv1.BodyShape {
	if s == nil {
		return nil
	}
	p := &foreshadowv1.BodyShape{Rest: s.Rest.Proto(), Items: s.Items.Proto()}
	for i := range typeNames {
		if s.Types&(1<<i) != 0 {
			p.Types = append(p.Types, foreshadowv1.JsonType(i+1))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Fields)) {
		p.Fields = append(p.Fields, &foreshadowv1.BodyField{Name: name, Shape: s.Fields[name].Proto()})
	}
	return p
}

var errWire = errors.New("a shape is larger than any that is published")

// FromProto reads the wire form; types that this release does not know are left out.
func FromProto(p *foreshadowv1.BodyShape) (*Shape, error) {
	left := 2*maxFields + 1 // what a vocabulary holds back may stand beside every named field
	return fromProto(p, 0, &left)
}

func fromProto(p *foreshadowv1.BodyShape, depth int, left *int) (*Shape, error) {
	if p == nil {
		return nil, nil
	}
	if *left--; *left < 0 || depth > maxDepth {
		return nil, errWire
	}
	s := &Shape{}
	for _, t := range p.GetTypes() {
		if i := int(t) - 1; i >= 0 && i < len(typeNames) {
			s.Types |= 1 << i
		}
	}
	var err error
	for _, f := range p.GetFields() {
		child, fault := fromProto(f.GetShape(), depth+1, left)
		if fault != nil {
			return nil, fault
		}
		if child != nil {
			s.set(f.GetName(), child)
		}
	}
	if s.Rest, err = fromProto(p.GetRest(), depth+1, left); err != nil {
		return nil, err
	}
	s.Items, err = fromProto(p.GetItems(), depth+1, left)
	return s, err
}
