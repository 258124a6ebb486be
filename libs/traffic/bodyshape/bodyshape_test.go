package bodyshape_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
)

// lines writes a shape down, one path a line.
func lines(s *bodyshape.Shape) []string {
	var out []string
	var walk func(path string, s *bodyshape.Shape)
	walk = func(path string, s *bodyshape.Shape) {
		out = append(out, path+" "+s.Types.String())
		for name, child := range s.Fields {
			walk(path+"."+name, child)
		}
		if s.Rest != nil {
			walk(path+".*", s.Rest)
		}
		if s.Items != nil {
			walk(path+"[]", s.Items)
		}
	}
	walk("$", s)
	slices.Sort(out)
	return out
}

func read(t testing.TB, body string) *bodyshape.Shape {
	t.Helper()
	s, err := bodyshape.Read("", []byte(body))
	if err != nil {
		t.Fatalf("%v of %.100s", err, body)
	}
	return s
}

// object has n fields with names by the format, all of one value.
func object(n int, format, value string) string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = fmt.Sprintf(format, letters(i)) + ":" + value
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// letters is a name of its own for each number.
func letters(i int) string {
	return string([]byte{'g' + byte(i/400%20), 'g' + byte(i/20%20), 'g' + byte(i%20)})
}

func TestRead(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"items":[{"id":7,"price":2.5},{"id":8,"price":null,"new":true}],"next":null}`: `$ object,$.items array,$.items[] object,$.items[].id number,$.items[].new bool,$.items[].price number or null,$.next null`,
		`{"owners":{"ann@example.com":{"age":30},"7f3a90":{"age":"x","y":[]}},"n":1}`:   `$ object,$.n number,$.owners object,$.owners.* object,$.owners.*.age string or number,$.owners.*.y array`,
		`[ 1 , "a" , [] , {} ]`: `$ array,$[] object or array or string or number`,
		`"text"`:                `$ string`,
		`{"a":1,"a":"x","\u0062":false,"\ud800":1,"":2}`:              `$ object,$.* number,$.a string or number,$.b bool`,
		"{\"\xff\":1,\"k\":\"\xff\"}":                                 `$ object,$.* number,$.k string`,
		object(64, `"%s"`, "1") + " ":                                 "",
		object(65, `"%s"`, `{"a":1}`):                                 `$ object,$.* object,$.*.a number`,
		object(2000, `"user-%s@a.example"`, "{}"):                     `$ object,$.* object`,
		strings.Repeat("[", 12) + `{"a":1}` + strings.Repeat("]", 12): "",
	} {
		s := read(t, body)
		if got := strings.Join(lines(s), ","); want != "" && got != want {
			t.Errorf("%.80s\n got %s\nwant %s", body, got, want)
		}
	}
	if n := len(read(t, object(64, `"%s"`, "1")).Fields); n != 64 {
		t.Errorf("%d of 64 names", n)
	}
	deep := lines(read(t, strings.Repeat("[", 12)+`{"a":1}`+strings.Repeat("]", 12)))
	if len(deep) != 13 || !strings.HasSuffix(deep[12], "[] object") {
		t.Errorf("what lies deep: %v", deep)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	zip := func(body string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(body))
		_ = w.Close()
		return b.String()
	}
	many := object(25, `"%s"`, object(25, `"%s"`, "1"))
	for name, c := range map[string]struct {
		encoding, body string
		want           error
	}{
		"no body":                  {"", "", bodyshape.ErrUnreadable},
		"a page":                   {"", "<html>", bodyshape.ErrUnreadable},
		"cut off":                  {"", `{"a":[1,2`, bodyshape.ErrUnreadable},
		"two documents":            {"", `{} {}`, bodyshape.ErrUnreadable},
		"a comma too many":         {"", `{"a":1,}`, bodyshape.ErrUnreadable},
		"a name without":           {"", `{"a"}`, bodyshape.ErrUnreadable},
		"a million brackets":       {"", strings.Repeat("[", bodyshape.MaxBytes), bodyshape.ErrUnreadable},
		"a million objects":        {"", strings.Repeat(`{"a":`, 12000), bodyshape.ErrUnreadable},
		"a huge name":              {"", `{"` + strings.Repeat("a", 60<<10) + `":1}`, nil},
		"too long":                 {"", `"` + strings.Repeat("a", bodyshape.MaxBytes) + `"`, bodyshape.ErrOversize},
		"too many fields":          {"", many, bodyshape.ErrFields},
		"gzip":                     {"GZIP", zip(`{"a":1}`), nil},
		"identity":                 {"identity", `{"a":1}`, nil},
		"brotli":                   {"br", `{"a":1}`, bodyshape.ErrEncoding},
		"two codings":              {"gzip, br", `{"a":1}`, bodyshape.ErrEncoding},
		"no gzip":                  {"gzip", `{"a":1}`, bodyshape.ErrUnreadable},
		"gzip cut off":             {"gzip", zip(`{"a":"` + strings.Repeat("xyz", 1000) + `"}`)[:30], bodyshape.ErrUnreadable},
		"what unzips to much more": {"gzip", zip(strings.Repeat(" ", 2<<20)), bodyshape.ErrOversize},
	} {
		if s, err := bodyshape.Read(c.encoding, []byte(c.body)); !errors.Is(err, c.want) || (s == nil) != (err != nil) {
			t.Errorf("%s: %v, %v, want %v", name, s, err, c.want)
		}
	}
}

func TestIsName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"id": true, "firstName": true, "first_name": true, "X-Total": true, "$ref": true, "@type": true, "_links": true, "address2": true,
		"": false, "42": false, "2nd": false, "ann@example.com": false, "a b": false, "a.b": false, "é": false, "user-12345": false, "k1": true, "a12": false,
		"deadbeef": false, "facade": true, "550e8400-e29b-41d4-a716-446655440000": false, strings.Repeat("a", 65): false, "-a": false, "a$": false,
	} {
		if got := bodyshape.IsName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestIsJSON(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]bool{
		"application/json": true, "Application/JSON; charset=utf-8": true, "application/problem+json": true, "text/json": true,
		"application/x-ndjson": false, "application/grpc+json": false, "text/html": false, "": false, "json": false, "application/json;;": false,
	} {
		if got := bodyshape.IsJSON(kind); got != want {
			t.Errorf("%q: %v", kind, got)
		}
	}
}

// FuzzRead reads hostile bytes, and holds the reader against encoding/json.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,{"b":null}],"c":{"d@e.f":"x"}}`, `[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]`, `{"a":1,"a":{"a":[]}}`, `{"\u0061":1e999}`, "{\"\xff\":\"\\ud800\"}", `nul`,
		object(70, `"%s"`, `{"x":1}`),
	} {
		f.Add([]byte(seed), []byte(`{"a":1}`))
	}
	f.Fuzz(func(t *testing.T, body, other []byte) {
		s, err := bodyshape.Read("", body)
		_, _ = bodyshape.Read("gzip", body)
		switch valid := json.Valid(body); {
		case err == nil && !valid:
			t.Fatalf("read what is no JSON: %q", body)
		case errors.Is(err, bodyshape.ErrUnreadable) && valid:
			t.Fatalf("did not read %q", body)
		}
		if err != nil {
			return
		}
		holds(t, s)
		if o, err := bodyshape.Read("", other); err == nil {
			bodyshape.Compare(s, o, nil, func(string, string) {})
			bodyshape.Compare(o, s, o, func(string, string) {})
		}
	})
}

// holds checks what is true of every shape.
func holds(t *testing.T, s *bodyshape.Shape) {
	t.Helper()
	none := func(what string) func(string, string) {
		return func(path, how string) { t.Errorf("%s: %s %s\n%v", what, path, how, lines(s)) }
	}
	bodyshape.Compare(s, s, s, none("with itself"))
	back, err := bodyshape.FromProto(s.Proto())
	if err != nil || !slices.Equal(lines(back), lines(s)) {
		t.Errorf("over the wire: %v\n%v\n%v", err, lines(back), lines(s))
	}
	v := bodyshape.NewVocabulary(func(string) bool { return true })
	for i := range 4 {
		told := v.Describe("r", fmt.Sprint(i), s)
		bodyshape.Compare(told, s, nil, none("with what is told of it"))
		wire, err := bodyshape.FromProto(told.Proto())
		if err != nil {
			t.Fatal(err)
		}
		bodyshape.Compare(wire, s, nil, none("with what travelled of it"))
	}
}

func TestFromProtoIsBounded(t *testing.T) {
	t.Parallel()
	deep := read(t, "1").Proto()
	for range 20 {
		outer := read(t, "[1]").Proto()
		outer.Items = deep
		deep = outer
	}
	if _, err := bodyshape.FromProto(deep); err == nil {
		t.Error("a shape of 20 levels was taken")
	}
	wide := read(t, `{"a":1}`).Proto()
	for range 2000 {
		wide.Fields = append(wide.Fields, wide.GetFields()[0])
	}
	if _, err := bodyshape.FromProto(wide); err == nil {
		t.Error("a shape of 2000 fields was taken")
	}
	if s, err := bodyshape.FromProto(nil); s != nil || err != nil {
		t.Errorf("none is %v, %v", s, err)
	}
}

// BenchmarkRead is a list of a shop's items, 1 and 50 KiB of it.
func BenchmarkRead(b *testing.B) {
	item := `{"id":%d,"name":"A thing to be bought","price":{"amount":12.5,"currency":"EUR"},"tags":["red","small"],"available":true},`
	for _, n := range []int{8, 400} {
		body := []byte(`{"items":[` + strings.Repeat(fmt.Sprintf(item, 7), n) + `null],"next":null}`)
		v := bodyshape.NewVocabulary(func(string) bool { return true })
		b.Run(fmt.Sprint(len(body)), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				s, err := bodyshape.Read("", body)
				if err != nil {
					b.Fatal(err)
				}
				_ = v.Describe("r", "s", s).Proto()
			}
		})
	}
}
