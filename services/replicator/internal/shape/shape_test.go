package shape_test

import (
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

func TestLooksSecret(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"": false, "items": false, "42": false, "20241105123456789": false, "v1": false,
		"6f1ed002-ab59-4c1d-9a3b-0d0f3a9d4c11": false,
		"the-quick-brown-fox-jumps-2024":       false,
		"getUserProfileByIdentifier":           false,
		"iphone15-pro-max-256gb":               false,
		"logstash-scale11x":                    false, "apple-touch-icon-120x120": false, "AKIAFQSEYIFHYNDVDJIA": true, "bsoGeeclMzbfftajHoqgIU51": true,
		"a8Fk2Lq9-Zx7Wv3Tb":                        true,
		"annual_report_of_the_year.pdf":            false,
		"Straßenverzeichnis-Nord":                  false,
		"bob@example.com":                          true,
		"mailto:bob@example.com":                   true,
		"@handle":                                  false,
		"4111111111111111":                         true,
		"4111 1111 1111 1111":                      true,
		"4111111111111112":                         false,
		"+4917012345678":                           true,
		"+49 170 1234567":                          true,
		"9f86d081884c7d659a2feaa0c55ad015":         true,
		"AKIAIOSFODNN7EXAMPLE":                     true,
		"ghp_16C7e42F292c6912E7710c838347Ae178B4a": true,
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w": true,
		"dGhpcyBpcyBhIHNlY3JldA==":                                  true,
		"AbCdEfGhIjKlMnOpQrSt":                                      true,
		strings.Repeat("a", 40):                                     true,
	} {
		if got := shape.LooksSecret(value); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "a%20b": "a b", "%2540": "@", "%25252540": "@", "+": "+",
		"%zz": "", "%25zz": "", "%2525252525252540": "",
	} {
		got, ok := shape.Unescape(in)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestIsPlain(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"items": true, "about-us": true, "getUserById": true, "css": true, "HTML": true, "kubernetes": true, "checkout_flow": true,
		"strengths": true, "": false, "-": false, "v1": false, "hunter2": false, "xkcdqzvw": false, "AbCdEfGh": false, "qwrtpsdf-a": false,
		"a b": false, "\xff": false, strings.Repeat("a", 29): false,
	} {
		if got := shape.IsPlain(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestIsName(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"q": true, "page": true, "utm_source": true, "items[0].name": true, "X-Whatever": true, "$filter": true, "": true, "line2": true,
		"bob@example.com": false, "9f86d081884c7d659a2feaa0c55ad015": false, "a b": false, "Xy7Kq9Zw": false, "\x00": false,
		strings.Repeat("a.", 40): false,
	} {
		if got := shape.IsName(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestAnnouncesAndVerbs(t *testing.T) {
	t.Parallel()
	if !shape.Announces("Reset") || shape.Announces("items") || !shape.IsVerb("new") || !shape.IsVerb("reset") || shape.IsVerb("hunter") {
		t.Error("wrong")
	}
}

// FuzzShape: no input breaks a judge, and what holds a mail address or a card is always taken for a secret.
func FuzzShape(f *testing.F) {
	f.Add("bob@example.com")
	f.Add("%25%32%35")
	f.Fuzz(func(t *testing.T, s string) {
		plain, ok := shape.Unescape(s)
		if ok && strings.Contains(plain, "%") {
			if _, again := shape.Unescape(plain); again {
				next, _ := shape.Unescape(plain)
				if next != plain {
					t.Errorf("%q left %q, which can be undone further", s, plain)
				}
			}
		}
		if shape.IsPlain(s) && strings.ContainsAny(s, "0123456789@%/ ") {
			t.Errorf("%q is plain", s)
		}
		if shape.LooksSecret("4111111111111111") == shape.LooksSecret("items") {
			t.Error("the judge has no opinion")
		}
		_, _, _ = shape.LooksSecret(s), shape.IsName(s), shape.IsVerb(s)
	})
}
