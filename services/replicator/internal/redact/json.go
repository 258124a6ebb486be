package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

// maxDepth bounds the nesting of a body.
const maxDepth = 200

var errDepth = errors.New("json: nested too deep")

// json rewrites a body token by token, so that keys that come twice, or values that another parser would read, are all seen:
// what leaves is what was written here. Of a body that was cut off, or breaks, the part before is returned with an error.
func (r *Redactor) jsonBody(data []byte) ([]byte, error) {
	w := &jsonWriter{r: r, in: json.NewDecoder(bytes.NewReader(data))}
	w.in.UseNumber()
	for first := true; ; first = false {
		token, err := w.in.Token()
		if errors.Is(err, io.EOF) && !first {
			return w.out.Bytes(), nil
		}
		if err != nil {
			return w.out.Bytes(), fmt.Errorf("read json: %w", err)
		}
		if !first {
			w.out.WriteByte('\n') // one value after another, as in logs
		}
		if err := w.value(token, nil, r.jsonAll); err != nil {
			return w.out.Bytes(), err
		}
	}
}

type jsonWriter struct {
	r   *Redactor
	in  *json.Decoder
	out bytes.Buffer
}

// value writes the value that begins with token. covered: a path covers all that lies here.
func (w *jsonWriter) value(token json.Token, path []string, covered bool) error {
	if len(path) > maxDepth {
		return errDepth
	}
	covered = covered || w.r.covers(path)
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return w.object(path, covered)
		}
		return w.array(path, covered)
	case string:
		w.text(t, covered)
	case json.Number:
		w.number(t.String(), covered)
	case bool:
		fmt.Fprintf(&w.out, "%t", t)
	default:
		w.out.WriteString("null")
	}
	return nil
}

func (w *jsonWriter) object(path []string, covered bool) error {
	w.out.WriteByte('{')
	for n := 0; w.in.More(); n++ {
		token, err := w.in.Token()
		if err != nil {
			return fmt.Errorf("read json: %w", err)
		}
		key, isKey := token.(string)
		if !isKey {
			return errors.New("json: a key is no string")
		}
		value, err := w.in.Token()
		if err != nil {
			return fmt.Errorf("read json: %w", err)
		}
		if n > 0 {
			w.out.WriteByte(',')
		}
		w.text(key, !shape.IsName(key))
		w.out.WriteByte(':')
		below := slices.Concat(path, []string{strings.ToLower(key)})
		if err := w.value(value, below, covered || w.r.replaces(key)); err != nil {
			return err
		}
	}
	return w.end('}')
}

func (w *jsonWriter) array(path []string, covered bool) error {
	w.out.WriteByte('[')
	for n := 0; w.in.More(); n++ {
		token, err := w.in.Token()
		if err != nil {
			return fmt.Errorf("read json: %w", err)
		}
		if n > 0 {
			w.out.WriteByte(',')
		}
		if err := w.value(token, slices.Concat(path, []string{fmt.Sprintf("[%d]", n)}), covered); err != nil {
			return err
		}
	}
	return w.end(']')
}

func (w *jsonWriter) end(delimiter byte) error {
	if _, err := w.in.Token(); err != nil {
		return fmt.Errorf("read json: %w", err)
	}
	w.out.WriteByte(delimiter)
	return nil
}

func (w *jsonWriter) text(s string, replace bool) {
	switch {
	case s == "":
	case replace:
		s = w.r.sampler.Pseudonym(kindText, s)
	default:
		s = w.r.Text(s)
	}
	quoted, err := json.Marshal(s)
	if err != nil { // cannot be: it is a string
		quoted = []byte(`""`)
	}
	w.out.Write(quoted)
}

// number keeps what a reader expects, a number of as many digits.
func (w *jsonWriter) number(s string, replace bool) {
	digits := strings.TrimPrefix(s, "-")
	if !replace && !shape.LooksSecret(digits) && w.r.matched(s) == s {
		w.out.WriteString(s)
		return
	}
	mac := w.r.sampler.Pseudonym("number", s)
	const longest = 15 // digits that every reader of JSON keeps
	exponent := strings.ContainsAny(digits, "eE")
	for i := range min(len(digits), longest) {
		c := digits[i]
		switch {
		case c == '.' && !exponent:
			w.out.WriteByte(c)
		case i == 0:
			w.out.WriteByte('1' + mac[i%len(mac)]%9)
		default:
			w.out.WriteByte('0' + mac[i%len(mac)]%10)
		}
	}
	if len(digits) > longest && digits[longest-1] == '.' && !exponent {
		w.out.WriteByte('0')
	}
}

// covers reports whether one of the configured paths names this place. Indices match [*] and their own number, and * any
// one step; ** any number of them.
func (r *Redactor) covers(path []string) bool {
	for _, steps := range r.json {
		if matchSteps(steps, path) {
			return true
		}
	}
	return false
}

func matchSteps(steps, path []string) bool {
	if len(steps) == 0 {
		return len(path) == 0
	}
	if steps[0] == "**" {
		for i := range len(path) + 1 {
			if matchSteps(steps[1:], path[i:]) {
				return true
			}
		}
		return false
	}
	if len(path) == 0 {
		return false
	}
	step, at := steps[0], path[0]
	return (step == at || step == "*" || step == "[*]" && strings.HasPrefix(at, "[")) && matchSteps(steps[1:], path[1:])
}
