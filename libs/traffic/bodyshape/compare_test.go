package bodyshape_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ want, got, differences string }{
		"the same":                {`{"a":1,"b":[{"c":"x"}]}`, `{"b":[{"c":"y"},{"c":"z"}],"a":2}`, ""},
		"a field less":            {`{"items":[{"id":1,"price":2}]}`, `{"items":[{"id":1}]}`, "$.items[].price missing"},
		"a field more":            {`{"a":1}`, `{"a":1,"b":2}`, "$.b added"},
		"another type":            {`{"a":1}`, `{"a":"1"}`, "$.a string, want number"},
		"null beside":             {`{"a":[1,null]}`, `{"a":[1]}`, ""},
		"null alone":              {`{"a":1}`, `{"a":null}`, "$.a null, want number"},
		"nothing below":           {`{"a":{"b":1,"c":2}}`, `{"a":[]}`, "$.a array, want object"},
		"a whole object less":     {`{"a":{"b":1,"c":2},"d":1}`, `{"d":1}`, "$.a missing"},
		"an empty list":           {`{"a":[{"b":1}]}`, `{"a":[]}`, "$.a[] missing"},
		"a list that was empty":   {`{"a":[]}`, `{"a":[{"b":1}]}`, "$.a[] added"},
		"other users":             {`{"a@b.c":{"n":1}}`, `{"d@e.f":{"n":1},"g@h.i":{"n":2}}`, ""},
		"users of another type":   {`{"a@b.c":{"n":1}}`, `{"d@e.f":{"n":"1"}}`, "$.*.n string, want number"},
		"no users":                {`{"a@b.c":{"n":1}}`, `{}`, "$.* missing"},
		"users where none was":    {`{"n":1}`, `{"n":1,"d@e.f":1}`, "$.* added"},
		"a name among users":      {`{"a@b.c":{"n":1}}`, `{"ann":{"n":1}}`, ""},
		"a map of many":           {object(70, `"%s"`, `{"n":1}`), `{"ann":{"n":1},"bob":{"n":1}}`, ""},
		"a few of a map of many":  {`{"ann":{"n":1},"bob":{"n":1}}`, object(70, `"%s"`, `{"n":1}`), ""},
		"a map of something else": {`{"ann":{"n":1}}`, object(70, `"%s"`, `{"m":1}`), "$.*.m added,$.*.n missing"},
		"an error in its place":   {`{"items":[],"next":null}`, `{"error":"no"}`, "$.error added,$.items missing,$.next missing"},
	} {
		var got []string
		shadow := read(t, c.got)
		bodyshape.Compare(read(t, c.want), shadow, shadow, func(path, how string) { got = append(got, path+" "+how) })
		slices.Sort(got)
		if joined := strings.Join(got, ","); joined != c.differences {
			t.Errorf("%s: %s, want %s", name, joined, c.differences)
		}
	}
}

func TestCompareShowsOnlyNamesThatMayBeShown(t *testing.T) {
	t.Parallel()
	var got []string
	bodyshape.Compare(read(t, `{"a":{"b":1}}`), read(t, `{"a":{"b":1,"secret":1},"known":1}`), read(t, `{"known":1}`), func(path, how string) {
		got = append(got, path+" "+how)
	})
	slices.Sort(got)
	if joined := strings.Join(got, ","); joined != "$.a.* added,$.known added" {
		t.Error(joined)
	}
}

// TestNamesHeldBackMakeNoDifference compares what a young vocabulary tells of production with a whole answer.
func TestNamesHeldBackMakeNoDifference(t *testing.T) {
	t.Parallel()
	v := bodyshape.NewVocabulary(func(string) bool { return true })
	known := read(t, `{"id":1,"tags":["x"]}`)
	for _, session := range []string{"a", "b", "c"} {
		v.Describe("r", session, known)
	}
	told := v.Describe("r", "d", read(t, `{"id":1,"tags":["x"],"ann":{"age":3}}`))
	for body, want := range map[string]string{
		`{"id":2,"tags":["y"],"bob":{"age":4}}`: "",
		`{"id":2,"tags":["y"]}`:                 "$.* missing",
		`{"id":2,"bob":{"age":"4"}}`:            "$.tags missing,$.*.* string, want number",
	} {
		var got []string
		bodyshape.Compare(told, read(t, body), nil, func(path, how string) { got = append(got, path+" "+how) })
		if joined := strings.Join(got, ","); joined != want {
			t.Errorf("%s: %s, want %s", body, joined, want)
		}
	}
}
