// Package wire reads and writes plain HTTP/1.1 messages in place, for the proxy's short way. It knows one reading of a
// message, the strict one; whatever might be read in another way it calls unusual, and leaves to net/http:
//
//	More      the message is not complete yet
//	Plain     complete, and no server reads it otherwise; it is passed on line by line, as it came
//	Unusual   other versions and methods, transfer codings, upgrades, expectations, trailers, folded or bare lines, repeated
//	          lengths and hosts, other forms of target, whatever Connection says but keep-alive and close
//
// Fuzz tests hold it against net/http: what is plain here, net/http reads as the same, and so does an instance behind.
package wire

// Verdict is how a message is to be read.
type Verdict int

// Verdicts.
const (
	More Verdict = iota
	Plain
	Unusual
)

// Field is one line of a head.
type Field struct {
	// Name is canonical.
	Name  string
	Value string
	// line is the whole of it, as it came.
	line string
}

// classes of bytes.
const (
	inToken  = 1 << iota // names and methods
	inValue              // values of fields
	inTarget             // targets that net/url gives back as they were
	inHost               // hosts, with a port
)

var class = classify()

func classify() (t [256]byte) {
	for c := range 256 {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' && c < 0x80
		digit := c >= '0' && c <= '9'
		if letter || digit {
			t[c] |= inToken | inTarget | inHost
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= inValue
		}
	}
	mark(&t, inToken, "!#$%&'*+-.^_`|~")
	mark(&t, inTarget, "-._~!$&'()*+,;=:@/%?")
	mark(&t, inHost, "-._:[]")
	return t
}

func mark(t *[256]byte, bit byte, set string) {
	for i := range len(set) {
		t[set[i]] |= bit
	}
}

func all(s string, bit byte) bool {
	for i := range len(s) {
		if class[s[i]]&bit == 0 {
			return false
		}
	}
	return true
}
