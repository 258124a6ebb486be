package tap

import (
	"strings"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/stratum"
)

// rule is what holds for the requests of a route.
type rule struct {
	template []string
	// rest: the template is a beginning.
	rest    bool
	methods map[string]bool
	ratio   float64
	body    workload.BodyPolicy
	prefix  int64
}

func newRules(t workload.Tap) []rule {
	rules := make([]rule, len(t.Rules))
	for i, r := range t.Rules {
		rules[i] = newRule(t, r)
	}
	return rules
}

// newRule fills what a rule leaves open with what holds for the whole tap.
func newRule(t workload.Tap, r workload.Rule) rule {
	out := rule{methods: map[string]bool{}, ratio: t.SampleRatio, body: r.Body, prefix: r.BodyPrefixBytes}
	path, rest := strings.CutSuffix(r.Route, "/**")
	out.rest = rest
	for s := range strings.SplitSeq(path, "/") {
		if s != "" {
			out.template = append(out.template, s)
		}
	}
	for _, m := range r.Methods {
		out.methods[m] = true
	}
	if len(r.Methods) == 0 {
		for _, m := range t.Methods {
			out.methods[m] = true
		}
	}
	if r.SampleRatio != nil {
		out.ratio = *r.SampleRatio
	}
	if out.body == "" {
		out.body = workload.BodyFull
	}
	return out
}

func (r *rule) matches(parts []string) bool {
	if r.rest {
		return len(parts) >= len(r.template) && stratum.Matches(r.template, parts[:len(r.template)])
	}
	return stratum.Matches(r.template, parts)
}

// ruleOf finds the first rule of a path; without one, what holds for the whole tap.
func (s *settings) ruleOf(path string) *rule {
	if len(s.rules) == 0 {
		return &s.standard
	}
	parts := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	for i := range s.rules {
		if s.rules[i].matches(parts) {
			return &s.rules[i]
		}
	}
	return &s.standard
}
