package redact_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/redact"
)

func TestTarget(t *testing.T) {
	t.Parallel()
	s := traffic.NewSampler("k")
	q := func(v string) string { return s.Pseudonym("query", v) }
	p := func(v string) string { return s.Pseudonym("path", v) }
	for _, c := range []struct{ parameters, in, want string }{
		{"*", "/items/42", "/items/42"},
		{"*", "/a%2Fb/c%20d", "/a%2Fb/c%20d"},
		{"*", "/s?q=blue+shoes&q=blue%20shoes", "/s?q=" + q("blue shoes") + "&q=" + q("blue shoes")},
		{"*", "/s?flag&empty=&=v", "/s?flag&empty=&=" + q("v")},
		{"*", "/s?a=b=c", "/s?a=" + q("b=c")},
		{"q", "/s?Q=x&page=2", "/s?Q=" + q("x") + "&page=2"},
		{"q", "/s?access_token=x&page=2", "/s?access_token=" + q("x") + "&page=2"},
		{"q", "/s?%71=x", "/s?%71=" + q("x")},
		{"q", "/s?to=bob%40example.com", "/s?to=" + q("bob@example.com")},
		{"q", "/s?bad=%zz", "/s?bad=" + q("%zz")},
		{"q", "/u/bob@example.com/orders", "/u/" + p("bob@example.com") + "/orders"},
		{"q", "/u/bob%40example.com", "/u/" + p("bob@example.com")},
		{"q", "/a;q=1;v=2/b", "/a;q=" + q("1") + ";v=2/b"},
	} {
		u, err := url.ParseRequestURI(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := redact.New(workload.Tap{RedactQuery: []string{c.parameters}}, s).Target(u); got != c.want {
			t.Errorf("%s with %q redacted: %s, want %s", c.in, c.parameters, got, c.want)
		}
	}
}

func TestHeadersLeaveByAllowListAlone(t *testing.T) {
	t.Parallel()
	r := redact.New(workload.Tap{AllowHeaders: []string{"x-b", "Accept", "accept", "Authorization", "Cookie", "Referer"}}, traffic.NewSampler("k"))
	got := r.Headers(http.Header{
		"X-B": {"2", "\xff"}, "Accept": {"a"}, "Authorization": {"x"}, "Cookie": {"x"}, "X-C": {"x"},
		"Referer": {"https://u:p@a.example/items#token"},
	})
	want := []*foreshadowv1.Header{
		{Name: "Accept", Value: "a"}, {Name: "Referer", Value: "https://a.example/items"}, {Name: "X-B", Value: "2"}, {Name: "X-B", Value: "\uFFFD"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzTarget: with everything redacted no value of the query is left, and the result is valid on the wire.
func FuzzTarget(f *testing.F) {
	f.Add("/a;b=c/d?x=topsecret&y=%zz&=&topsecret=1")
	f.Add("//%2f?=topsecret;a")
	r := redact.New(workload.Tap{RedactQuery: []string{"*"}}, traffic.NewSampler("k"))
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			return
		}
		got := r.Target(u)
		if !utf8.ValidString(got) && utf8.ValidString(raw) {
			t.Errorf("%q gave %q", raw, got)
		}
		for _, part := range strings.Split(u.RawQuery, "&") {
			_, value, has := strings.Cut(part, "=")
			if has && len(value) > 16 && strings.Contains(got, "="+value) {
				t.Errorf("%q left as %q", value, got)
			}
		}
	})
}
