package redact_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/redact"
)

const jsonType = "application/json"

func redactor(change func(*workload.Tap)) *redact.Redactor {
	tap := workload.Tap{RedactQuery: []string{"*"}, RedactJSON: []string{"*"}}
	if change != nil {
		change(&tap)
	}
	return redact.New(tap, traffic.NewSampler("k"))
}

func TestJSONPathsAreReplaced(t *testing.T) {
	t.Parallel()
	p := func(v string) string { return traffic.NewSampler("k").Pseudonym("text", v) }
	for _, c := range []struct{ paths, in, want string }{
		{"user.email", `{"user":{"email":"a","name":"b"},"email":"c"}`, `{"user":{"email":"` + p("a") + `","name":"b"},"email":"c"}`},
		{"USER.Email", `{"User":{"EMAIL":"a"}}`, `{"User":{"EMAIL":"` + p("a") + `"}}`},
		{"user", `{"user":{"x":["a",{"y":"b"}]}}`, `{"user":{"x":["` + p("a") + `",{"y":"` + p("b") + `"}]}}`},
		{"items[*].card", `{"items":[{"card":"a"},{"card":"b","n":1}]}`, `{"items":[{"card":"` + p("a") + `"},{"card":"` + p("b") + `","n":1}]}`},
		{"items[1]", `{"items":["a","b"]}`, `{"items":["a","` + p("b") + `"]}`},
		{"*.name", `{"a":{"name":"x"},"name":"y"}`, `{"a":{"name":"` + p("x") + `"},"name":"y"}`},
		{"**.pet", `{"pet":"x","a":[{"b":{"pet":"y"}}]}`, `{"pet":"` + p("x") + `","a":[{"b":{"pet":"` + p("y") + `"}}]}`},
		// Both of two equal keys: which one a server reads is its own affair.
		{"a", `{"a":"x","a":"y"}`, `{"a":"` + p("x") + `","a":"` + p("y") + `"}`},
		// An escaped key is the key.
		{"a", `{"\u0061":"x"}`, `{"a":"` + p("x") + `"}`},
		{"*", `"x"`, `"` + p("x") + `"`},
		{"none", `{"a":true,"b":null,"c":1.5e3,"d":[],"e":{},"f":""}`, `{"a":true,"b":null,"c":1.5e3,"d":[],"e":{},"f":""}`},
		// Names that say what they hold, and shapes, without any path.
		{"none", `{"access_token":"x","mail":"bob@example.com"}`, `{"access_token":"` + p("x") + `","mail":"` + p("bob@example.com") + `"}`},
		{"none", `{"bob@example.com":"x"}`, `{"` + p("bob@example.com") + `":"x"}`},
		{"none", `{"a":"x"} {"a":"y"}`, "{\"a\":\"x\"}\n{\"a\":\"y\"}"},
	} {
		r := redactor(func(tap *workload.Tap) { tap.RedactJSON = []string{c.paths} })
		got, ok := r.Body(jsonType, []byte(c.in), false)
		if !ok || string(got) != c.want {
			t.Errorf("%s of %s:\n%s, want\n%s", c.paths, c.in, got, c.want)
		}
	}
}

func TestJSONNumbersStayNumbers(t *testing.T) {
	t.Parallel()
	r := redactor(nil)
	for _, in := range []string{"0", "-17", "3.14159", "4111111111111111", "1e400", "-1.5E-7", "123456789012345678901234567890", "12345678901234.5"} {
		got, ok := r.Body(jsonType, []byte(in), false)
		var n float64
		if err := json.Unmarshal(got, &n); !ok || err != nil || len(in) > 2 && string(got) == in {
			t.Errorf("%s became %s (%v)", in, got, err)
		}
	}
	// A card number is one wherever it stands.
	open := redactor(func(tap *workload.Tap) { tap.RedactJSON = nil })
	if got, _ := open.Body(jsonType, []byte(`{"n":4111111111111111,"m":42}`), false); strings.Contains(string(got), "4111111111111111") || !strings.Contains(string(got), `"m":42`) {
		t.Errorf("%s", got)
	}
}

func TestJSONThatIsNoneDoesNotLeave(t *testing.T) {
	t.Parallel()
	r := redactor(nil)
	for _, in := range []string{"", "{", `{"a":`, `{"a" "b"}`, `{a:1}`, `[1,]`, `{"a":"SECRET`, `{"a":1}x`, "\xff", strings.Repeat("[", 100000)} {
		if got, ok := r.Body(jsonType, []byte(in), false); ok {
			t.Errorf("%.20q left as %s", in, got)
		}
	}
	// Of the beginning of a longer body, what is whole leaves.
	got, ok := r.Body(jsonType, []byte(`{"a":"one","b":"SECRE`), true)
	if !ok || strings.Contains(string(got), "SECRE") || !strings.HasPrefix(string(got), `{"a":"`) {
		t.Errorf("prefix %q, %v", got, ok)
	}
}

// FuzzJSON: whatever leaves is JSON, and with everything redacted no string of the body is in it.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":"topsecretvalue","topsecretvalue":[1,2.5,"topsecretvalue"]}`))
	f.Add([]byte(`{"a":"\u0074opsecretvalue","\ud800":"x"}`))
	r := redactor(nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := r.Body(jsonType, data, false)
		if !ok {
			return
		}
		for line := range strings.Lines(string(got)) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%q left as %q", data, got)
			}
		}
		if strings.Contains(string(got), "topsecretvalue") && strings.Contains(string(data), `"topsecretvalue"`) && !strings.Contains(string(data), `"topsecretvalue":`) {
			t.Errorf("%q left as %q", data, got)
		}
	})
}
