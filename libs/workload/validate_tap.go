package workload

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

func (t Tap) validate(fault faultFunc) {
	if !(t.SampleRatio >= 0 && t.SampleRatio <= 1) {
		fault("tap.sample_ratio", "want a value from 0 to 1, got %v", t.SampleRatio)
	}
	if t.MaxBodyBytes < 0 {
		fault("tap.max_body_bytes", "must not be negative, got %d", t.MaxBodyBytes)
	}
	if !(t.AnswerShapes >= 0) || math.IsInf(t.AnswerShapes, 0) {
		fault("tap.answer_shapes_per_second", "must not be negative, got %v", t.AnswerShapes)
	}
	for key, n := range map[string]int{"max_routes": t.MaxRoutes, "max_words": t.MaxWords, "max_strata": t.MaxStrata} {
		if n < 1 {
			fault("tap."+key, "must be at least 1, got %d", n)
		}
	}
	validateMethods("tap.methods", t.Methods, fault)
	for _, h := range t.AllowHeaders {
		if IsCredentialHeader(h) {
			fault("tap.allow_headers", "%s carries credentials and never leaves production", h)
		}
	}
	for _, r := range t.Routes {
		if !strings.HasPrefix(r, "/") {
			fault("tap.routes", "want a path that begins with /, got %q", r)
		}
	}
	for i, p := range t.RedactPatterns {
		key := fmt.Sprintf("tap.redact_patterns[%d]", i)
		if re, err := regexp.Compile(p); err != nil {
			fault(key, "%v", err)
		} else if re.MatchString("") {
			fault(key, "%q matches nothing at all, which is everywhere", p)
		}
	}
	for i, p := range t.RedactJSON {
		if _, err := JSONPath(p); err != nil {
			fault(fmt.Sprintf("tap.redact_json[%d]", i), "%v", err)
		}
	}
	for i, r := range t.Rules {
		r.validate(fmt.Sprintf("tap.rules[%d]", i), fault)
	}
	t.Sampling.validate(fault)
}

func validateMethods(key string, methods []string, fault faultFunc) {
	for _, m := range methods {
		if m == "" || m != strings.ToUpper(m) {
			fault(key, "want method names in capitals, got %q", m)
		}
	}
}

func (r Rule) validate(key string, fault faultFunc) {
	if !strings.HasPrefix(r.Route, "/") {
		fault(key+".route", "want a path that begins with /, got %q", r.Route)
	}
	if i := strings.Index(r.Route, "**"); i >= 0 && !strings.HasSuffix(r.Route, "/**") {
		fault(key+".route", "** is the last segment alone, got %q", r.Route)
	}
	validateMethods(key+".methods", r.Methods, fault)
	if r.SampleRatio != nil && !(*r.SampleRatio >= 0 && *r.SampleRatio <= 1) {
		fault(key+".sample_ratio", "want a value from 0 to 1, got %v", *r.SampleRatio)
	}
	switch r.Body {
	case "", BodyFull, BodyHash, BodyNone:
	case BodyPrefix:
		if r.BodyPrefixBytes < 1 {
			fault(key+".body_prefix_bytes", "must be at least 1 with body: prefix, got %d", r.BodyPrefixBytes)
		}
	default:
		fault(key+".body", "want full, prefix, hash or none, got %q", r.Body)
	}
}

func (s Sampling) validate(fault faultFunc) {
	if !(s.MaxRequests >= 0) || !(s.MaxBytes >= 0) {
		fault("tap.sampling", "max_requests_per_second and max_bytes_per_second must not be negative, got %v and %v", s.MaxRequests, s.MaxBytes)
	}
	if !(s.TargetError >= 0 && s.TargetError < 1) {
		fault("tap.sampling.target_error", "want a share from 0 to below 1, got %v", s.TargetError)
	}
	if s.Minimum < 0 {
		fault("tap.sampling.minimum_per_stratum", "must not be negative, got %d", s.Minimum)
	}
	for key, d := range map[string]time.Duration{"interval": s.Interval, "span": s.Span} {
		if d < time.Second || d > time.Hour {
			fault("tap.sampling."+key, "want 1s to 1h, got %v", d)
		}
	}
}

// JSONPath splits a path of redact_json into its steps; an index is the step `[*]` or `[3]`.
func JSONPath(path string) ([]string, error) {
	var steps []string
	for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(path, "$"), "."), ".") {
		name, index, has := strings.Cut(part, "[")
		if name == "" && !has {
			return nil, fmt.Errorf("%q has an empty step; want for example user.email or items[*].card", path)
		}
		if name != "" {
			steps = append(steps, name)
		}
		for has {
			var inner string
			if inner, index, has = strings.Cut(index, "]"); !has || inner == "" || strings.Trim(inner, "0123456789") != "" && inner != "*" {
				return nil, fmt.Errorf("%q has an index that is neither a number nor *", path)
			}
			steps = append(steps, "["+inner+"]")
			if index == "" {
				break
			}
			if !strings.HasPrefix(index, "[") {
				return nil, fmt.Errorf("%q has text after an index", path)
			}
			index = index[1:]
		}
	}
	return steps, nil
}

// IsCredentialHeader reports whether a header may carry credentials; such headers never leave production.
func IsCredentialHeader(name string) bool {
	n := strings.ToLower(strings.TrimSpace(name))
	switch n {
	case "cookie", "cookie2", "set-cookie", "set-cookie2", "www-authenticate", "proxy-authenticate", "authentication-info",
		"proxy-authentication-info", "dpop", "x-amz-cf-id", "*":
		return true
	}
	for _, part := range []string{
		"authoriz", "auth-", "-auth", "_auth", "token", "secret", "api-key", "apikey", "api_key", "private-key", "access-key", "passw",
		"passphrase", "session", "credential", "signature", "jwt", "assertion", "csrf", "xsrf", "saml", "client-cert", "otp",
	} {
		if strings.Contains(n, part) {
			return true
		}
	}
	return false
}
