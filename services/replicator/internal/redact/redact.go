// Package redact takes out of a request what must not leave production. It works on names it is given (headers to keep,
// parameters to replace) and on the shape of values: mail addresses, tokens, card and telephone numbers are replaced
// wherever they stand in a path or a query. What is replaced gets a keyed pseudonym, equal for equal values, so that the
// copies of a session still hang together.
package redact

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

// Redactor is safe for concurrent use.
type Redactor struct {
	sampler    traffic.Sampler
	headers    []string
	parameters map[string]bool
	all        bool
}

// New returns a redactor by the tap's configuration.
func New(tap workload.Tap, sampler traffic.Sampler) *Redactor {
	r := &Redactor{sampler: sampler, parameters: map[string]bool{}}
	for _, h := range tap.AllowHeaders {
		// Validate refuses such a configuration; a copy must not leave even if it was never called.
		if name := http.CanonicalHeaderKey(h); !workload.IsCredentialHeader(name) {
			r.headers = append(r.headers, name)
		}
	}
	slices.Sort(r.headers)
	r.headers = slices.Compact(r.headers)
	for _, p := range tap.RedactQuery {
		r.all = r.all || p == "*"
		r.parameters[strings.ToLower(p)] = true
	}
	return r
}

// Headers returns the header lines that may leave, ordered by name. net/http does not keep the order of the wire.
func (r *Redactor) Headers(h http.Header) []*foreshadowv1.Header {
	out := make([]*foreshadowv1.Header, 0, len(r.headers))
	for _, name := range r.headers {
		for _, value := range h[name] {
			if name == "Referer" || name == "Origin" {
				value = r.location(value)
			}
			// Headers may hold any byte, protobuf strings may not.
			out = append(out, &foreshadowv1.Header{Name: name, Value: strings.ToValidUTF8(value, "\uFFFD")})
		}
	}
	return out
}

// location redacts an absolute URL; one that cannot be read is not passed on.
func (r *Redactor) location(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() + r.Target(u)
}

// Target returns the escaped path and the query, redacted; the fragment never travels.
func (r *Redactor) Target(u *url.URL) string {
	path := r.path(u.EscapedPath())
	if u.RawQuery == "" {
		return path
	}
	return path + "?" + r.Form(u.RawQuery)
}

// path keeps the path as it is but for segments that look like secrets and for matrix parameters, which carry session
// identities in old frameworks.
func (r *Redactor) path(escaped string) string {
	changed := false
	parts := strings.Split(escaped, "/")
	for i, p := range parts {
		name, matrix, has := strings.Cut(p, ";")
		clean := r.scrub("path", name)
		if has {
			clean += ";" + r.pairs(matrix, ";")
		}
		changed = changed || clean != p
		parts[i] = clean
	}
	if !changed {
		return escaped
	}
	return strings.Join(parts, "/")
}

// Form redacts a query or a form body in application/x-www-form-urlencoded; order and names are kept.
func (r *Redactor) Form(raw string) string { return r.pairs(raw, "&") }

func (r *Redactor) pairs(raw, separator string) string {
	parts := strings.Split(raw, separator)
	for i, p := range parts {
		key, value, has := strings.Cut(p, "=")
		if !has {
			// A name without a value may be a value without a name.
			parts[i] = r.scrub("query", key)
			continue
		}
		name, err := url.QueryUnescape(key)
		if err != nil {
			name = key
		}
		switch {
		case value == "":
		case r.all || r.parameters[strings.ToLower(name)] || workload.IsCredentialHeader(name):
			value = r.replace("query", value)
		default:
			value = r.scrub("query", value)
		}
		parts[i] = r.scrub("query", key) + "=" + value
	}
	return strings.Join(parts, separator)
}

// scrub replaces an escaped value when it looks like a secret.
func (r *Redactor) scrub(kind, escaped string) string {
	value, err := url.PathUnescape(escaped)
	if err != nil || shape.LooksSecret(value) {
		return r.replace(kind, escaped)
	}
	return escaped
}

// replace gives equal values equal pseudonyms, however they were escaped.
func (r *Redactor) replace(kind, escaped string) string {
	value, err := url.QueryUnescape(escaped)
	if err != nil {
		value = escaped
	}
	return r.sampler.Pseudonym(kind, value)
}
