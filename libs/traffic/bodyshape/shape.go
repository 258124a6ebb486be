package bodyshape

// Types is a set of the types of JSON.
type Types uint8

// The types of JSON.
const (
	Object Types = 1 << iota
	Array
	String
	Number
	Bool
	Null
)

var typeNames = []string{"object", "array", "string", "number", "bool", "null"}

// String names the types, such as "number or null"; nothing when there is none.
func (t Types) String() string {
	s := ""
	for i, name := range typeNames {
		if t&(1<<i) == 0 {
			continue
		}
		if s != "" {
			s += " or "
		}
		s += name
	}
	return s
}

const (
	// maxDepth is how deep is looked; what lies below has a type and no fields.
	maxDepth = 12
	// maxFields bounds the fields of a document, all depths and lists of it taken together.
	maxFields = 500
	// maxNames is how many named fields an object may have; one with more is a map.
	maxNames = 64
	// maxNameBytes, maxNameDigits and minHex tell names from identities and tokens.
	maxNameBytes, maxNameDigits, minHex = 64, 4, 8
)

// Shape is what is known of a value, or of several that are taken together. The zero value is that of none.
type Shape struct {
	// Types that were seen.
	Types Types
	// Fields of an object by their names; nil when there are none, or when it is a map.
	Fields map[string]*Shape
	// Rest are the fields of an object whose names may be data, taken together; nil when there are none.
	Rest *Shape
	// Items are the elements of a list, taken together; nil when it is empty.
	Items *Shape

	// isMap: it had too many names, so that all its fields are in Rest.
	isMap bool
}

// Size is the number of values that are told apart; 0 of nil.
func (s *Shape) Size() int {
	if s == nil {
		return 0
	}
	n := 1 + s.Rest.Size() + s.Items.Size()
	for _, child := range s.Fields {
		n += child.Size()
	}
	return n
}

// IsName reports whether the name of a field may be that of an interface: an identifier of ASCII with few digits, which is
// not a number in hexadecimal.
func IsName(name string) bool {
	if name == "" || len(name) > maxNameBytes {
		return false
	}
	digits, hex := 0, 0
	for i := range len(name) {
		c := name[i]
		switch isDigit := c >= '0' && c <= '9'; {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c == '_':
		case i == 0 && (c == '$' || c == '@'): // as in $ref and @type
		case i > 0 && (c == '-' || isDigit):
			if isDigit {
				digits++
			}
		default:
			return false
		}
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' {
			hex++
		}
	}
	return digits <= maxNameDigits && 2*digits <= len(name) && (hex < len(name) || hex < minHex)
}

// merge takes another shape in.
func (s *Shape) merge(o *Shape) {
	if o == nil {
		return
	}
	s.Types |= o.Types
	if s.isMap = s.isMap || o.isMap; s.isMap {
		s.fold()
	}
	for name, child := range o.Fields {
		switch mine := s.Fields[name]; {
		case mine != nil:
			mine.merge(child)
		case s.isMap:
			s.rest().merge(child)
		default:
			s.set(name, child.clone())
			s.foldIfMap()
		}
	}
	if o.Rest != nil {
		s.rest().merge(o.Rest)
	}
	if o.Items != nil {
		s.items().merge(o.Items)
	}
}

func (s *Shape) clone() *Shape {
	c := &Shape{}
	c.merge(s)
	return c
}

func (s *Shape) set(name string, child *Shape) {
	if s.Fields == nil {
		s.Fields = map[string]*Shape{}
	}
	s.Fields[name] = child
}

func (s *Shape) rest() *Shape {
	if s.Rest == nil {
		s.Rest = &Shape{}
	}
	return s.Rest
}

func (s *Shape) items() *Shape {
	if s.Items == nil {
		s.Items = &Shape{}
	}
	return s.Items
}

// foldIfMap makes an object with too many names a map.
func (s *Shape) foldIfMap() {
	if len(s.Fields) > maxNames {
		s.fold()
	}
}

// fold takes the named fields of a map together with the rest.
func (s *Shape) fold() {
	s.isMap = true
	for _, child := range s.Fields {
		s.rest().merge(child)
	}
	s.Fields = nil
}
