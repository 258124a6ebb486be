package accesslog

import (
	"errors"
	"fmt"
	"strings"
)

// What a format must tell of a request.
const (
	partTime    = "time"
	partRequest = "request"
	partMethod  = "method"
	partTarget  = "target"
)

const (
	commonFormat   = `%h %l %u %t "%r" %>s %b`
	combinedFormat = commonFormat + ` "%{Referer}i" "%{User-Agent}i"`
)

// parser reads one line.
type parser interface {
	parse(line []byte) (*entry, error)
}

func newParser(format string, fields map[string]string) (parser, error) {
	if format != JSON && len(fields) > 0 {
		return nil, errors.New("fields: are for the format json")
	}
	switch format {
	case JSON:
		return newObjectParser(fields)
	case Common:
		format = commonFormat
	case Combined:
		format = combinedFormat
	}
	return newTextParser(format)
}

// textParser knows a format as fields, each followed by the text up to the next one.
type textParser struct {
	lead  string
	steps []step
}

type step struct {
	set  setter
	then string
	// quoted: the field stands in double quotes, in which servers escape theirs.
	quoted bool
}

func newTextParser(format string) (*textParser, error) {
	p := &textParser{}
	parts := map[string]bool{}
	// People paste Apache's formats with the quotes escaped, as its configuration has them.
	rest := strings.ReplaceAll(format, `\"`, `"`)
	for rest != "" {
		if rest[0] != '$' && rest[0] != '%' || strings.HasPrefix(rest, "%%") {
			if strings.HasPrefix(rest, "%%") {
				rest = rest[1:]
			}
			p.literal(rest[0])
			rest = rest[1:]
			continue
		}
		set, part, size, err := field(rest)
		if err != nil {
			return nil, err
		}
		if n := len(p.steps); n > 0 && p.steps[n-1].then == "" {
			return nil, fmt.Errorf("format: nothing stands between two fields at %q", rest)
		}
		parts[part] = true
		quoted := strings.HasSuffix(p.lead, `"`)
		if n := len(p.steps); n > 0 {
			quoted = strings.HasSuffix(p.steps[n-1].then, `"`)
		}
		p.steps = append(p.steps, step{set: set, quoted: quoted})
		rest = rest[size:]
	}
	return p, complete(parts)
}

func (p *textParser) literal(c byte) {
	if n := len(p.steps); n > 0 {
		p.steps[n-1].then += string(c)
		return
	}
	p.lead += string(c)
}

// complete reports what a format does not tell.
func complete(parts map[string]bool) error {
	if !parts[partTime] {
		return errors.New("format: has no time: give $time_local, $time_iso8601, $msec or %t")
	}
	if !parts[partRequest] && (!parts[partMethod] || !parts[partTarget]) {
		return errors.New("format: has no request: give $request, %r, or method and target")
	}
	return nil
}

// field reads one variable or directive at the beginning of a format.
func field(s string) (set setter, part string, size int, err error) {
	if s[0] == '$' {
		name := strings.TrimPrefix(s[1:], "{")
		end := strings.IndexFunc(name, func(c rune) bool {
			return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
		})
		if end < 0 {
			end = len(name)
		}
		if end == 0 {
			return nil, "", 0, fmt.Errorf("format: want the name of a variable at %q", s)
		}
		size = len(s) - len(name) + end
		if strings.HasPrefix(s, "${") {
			if !strings.HasPrefix(name[end:], "}") {
				return nil, "", 0, fmt.Errorf("format: want a closing brace at %q", s)
			}
			size++
		}
		set, part = nginxField(name[:end])
		return set, part, size, nil
	}
	i := 1
	for i < len(s) && strings.IndexByte("<>!,0123456789", s[i]) >= 0 {
		i++
	}
	argument := ""
	if i < len(s) && s[i] == '{' {
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return nil, "", 0, fmt.Errorf("format: want a closing brace at %q", s)
		}
		argument = s[i+1 : i+end]
		i += end + 1
	}
	if i >= len(s) {
		return nil, "", 0, fmt.Errorf("format: want a directive at %q", s)
	}
	set, part, err = apacheField(s[i], argument)
	return set, part, i + 1, err
}

func (p *textParser) parse(line []byte) (*entry, error) {
	rest, ok := strings.CutPrefix(string(line), p.lead)
	if !ok {
		return nil, refusal(ReasonFormat)
	}
	e := newEntry()
	var refused error
	for i, s := range p.steps {
		value := rest
		switch {
		case s.then != "":
			end := s.end(rest)
			if end < 0 {
				return nil, refusal(ReasonFormat)
			}
			value, rest = rest[:end], rest[end+len(s.then):]
		case i == len(p.steps)-1:
			rest = ""
		}
		// What a client sent may be nonsense in a line that is otherwise well-formed: the first such fault is the reason.
		if err := s.set(e, unescape(value)); err != nil && refused == nil {
			refused = err
		}
	}
	if rest != "" {
		return nil, refusal(ReasonFormat)
	}
	return e, refused
}

// end is where the field ends, or -1.
func (s step) end(rest string) int {
	if !s.quoted || s.then[0] != '"' {
		// Apache's %t brings its own brackets, with a blank inside.
		if strings.HasPrefix(rest, "[") {
			if i := strings.IndexByte(rest, ']'); i >= 0 && strings.HasPrefix(rest[i+1:], s.then) {
				return i + 1
			}
		}
		return strings.Index(rest, s.then)
	}
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == '\\':
			i++ // the escaped byte is part of the value
		case strings.HasPrefix(rest[i:], s.then):
			return i
		}
	}
	return -1
}

// unescape undoes what servers do to bytes that would break a line.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'x':
			if hi, lo := unhex(s, i+1), unhex(s, i+2); hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
			b.WriteString(`\x`)
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '"', '\\':
			b.WriteByte(s[i])
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func unhex(s string, i int) int {
	if i >= len(s) {
		return -1
	}
	switch c := s[i]; {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
