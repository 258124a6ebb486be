package replicator_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// answer is what an instance says.
type answer struct {
	header http.Header
	body   string
	// streamed answers have no length.
	streamed bool
}

func (a answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.streamed {
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = io.WriteString(w, a.body)
}

// answer holds secrets as values and as names, and beside them what an interface has.
func (c *planter) answer(i int) answer {
	a := answer{header: http.Header{"X-Answer": {c.word("header of an answer")}}, streamed: i%3 == 0}
	kind := "application/json; charset=" + c.word("parameter of an answer's type")
	key := c.name()
	fields := []string{
		`"id":7`, `"name":"` + c.word("value in an answer") + `"`, `"n":` + c.keep("number in an answer", c.card()),
		`"users":{"` + key + `":{"age":1},"` + c.shaped("name in a map of an answer") + `":{"` + c.word("name in a map of an answer") + `":null}}`,
		`"list":[{"` + c.name() + `":1},"` + c.word("value in a list of an answer") + `"]`, `"` + c.word("name in an answer") + `":true`,
		`"` + strings.ToUpper(c.name()) + `":1`, `"` + c.name() + "_" + c.name() + `":1`,
	}
	if c.key != "" {
		fields = append(fields, `"`+c.key+`":2`) // in the answers to two sessions
	}
	c.key = c.name()
	fields = append(fields, `"`+c.key+`":2`)
	escaped := ""
	for _, b := range []byte(c.name()) {
		escaped += fmt.Sprintf(`\u%04x`, b)
	}
	a.body = "{" + strings.Join(append(fields, `"`+escaped+`":[]`), ",") + "}"
	switch i % 8 {
	case 1:
		a.body += c.word("behind an answer") // which makes it no JSON
	case 2:
		kind = "application/" + strings.ToLower(c.shaped("type of an answer")) + "+json"
	case 3:
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, _ = io.WriteString(w, a.body)
		_ = w.Close()
		a.body = zipped.String()
		a.header.Set("Content-Encoding", "gzip")
	case 4:
		kind, a.body = "text/html", "<html>"+c.word("page")
	case 5:
		a.body = `"` + c.word("answer that is a value") + `"`
	}
	a.header.Set("Content-Type", kind)
	return a
}

// name is a secret that looks like a name of an interface: a user's, made of syllables.
func (c *planter) name() string {
	s := ""
	for range 5 {
		s += c.random("bdfgklmnprstvw", 1) + c.random("aeiou", 1)
	}
	return c.keep("name that looks like an interface's", s)
}

// checkShapes makes sure that answers were looked at, or nothing of them would be found.
func (c *planter) checkShapes(t *testing.T, copies []*foreshadowv1.CapturedRequest) {
	t.Helper()
	shapes, named := 0, map[string]int{}
	for _, m := range copies {
		if m.GetResponseShape() != nil {
			shapes++
		}
		for _, f := range m.GetResponseShape().GetFields() {
			named[f.GetName()]++
		}
	}
	if c.inAnswers < 1000 || shapes < len(copies)/2 || named["id"] < shapes/4 {
		t.Errorf("%d secrets in answers, of which %d have a shape, with the names %v", c.inAnswers, shapes, named)
	}
	for name := range named {
		if !slices.Contains([]string{"id", "name", "n", "users", "list"}, name) {
			t.Errorf("the name %q travelled", name)
		}
	}
}
