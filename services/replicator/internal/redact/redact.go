// Package redact takes out of a request what must not leave production. It works on names it is given (headers to keep,
// parameters and JSON paths to replace, patterns) and on the shape of values: mail addresses, tokens, card and telephone
// numbers are replaced wherever they stand, however often they were percent-encoded. What is replaced gets a keyed pseudonym,
// equal for equal values, so that the copies of a session still hang together.
//
// What cannot be read (a broken escape, JSON that is none) is replaced or left out as a whole, never passed on.
package redact

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

// Kinds of values; equal values of two kinds have two pseudonyms.
const (
	kindPath  = "path"
	kindQuery = "query"
	kindText  = "text"
)

// Redactor is safe for concurrent use.
type Redactor struct {
	sampler    traffic.Sampler
	headers    []string
	parameters map[string]bool
	all        bool
	json       [][]string
	jsonAll    bool
	patterns   []*regexp.Regexp
	boundary   string
	known      *knownHeaders
}

// New returns a redactor by the tap's configuration, which Validate has accepted: a pattern or path that it refuses is
// left out here.
func New(tap workload.Tap, sampler traffic.Sampler) *Redactor {
	r := &Redactor{
		sampler: sampler, parameters: map[string]bool{}, boundary: "foreshadow-" + sampler.Pseudonym("boundary", ""),
		known: &knownHeaders{out: map[headerLine]string{}},
	}
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
	for _, p := range tap.RedactJSON {
		r.jsonAll = r.jsonAll || p == "*"
		if steps, err := workload.JSONPath(strings.ToLower(p)); err == nil {
			r.json = append(r.json, steps)
		}
	}
	for _, p := range tap.RedactPatterns {
		if re, err := regexp.Compile(p); err == nil {
			r.patterns = append(r.patterns, re)
		}
	}
	return r
}

// Target returns the escaped path and the query, redacted; the fragment never travels.
func (r *Redactor) Target(u *url.URL) string {
	path := r.path(u.EscapedPath())
	if u.RawQuery == "" {
		return path
	}
	return path + "?" + r.Form(u.RawQuery)
}

// path keeps the path as it is but for segments that look like secrets or follow a word that announces one, and for matrix
// parameters, which carry session identities in old frameworks.
func (r *Redactor) path(escaped string) string {
	changed, announced := false, false
	parts := strings.Split(escaped, "/")
	for i, p := range parts {
		name, matrix, has := strings.Cut(p, ";")
		clean := r.scrub(kindPath, name)
		if announced && clean == name && name != "" && !shape.IsVerb(name) {
			clean = r.replace(kindPath, name)
		}
		if name != "" {
			plain, _ := shape.Unescape(name)
			announced = shape.Announces(plain)
		}
		if has {
			clean += ";" + r.pairs(matrix, ";")
		}
		changed = changed || clean != p
		parts[i] = clean
	}
	if !changed {
		return ascii(escaped)
	}
	return ascii(strings.Join(parts, "/"))
}

// Form redacts a query or a form body in application/x-www-form-urlencoded; order and names are kept.
func (r *Redactor) Form(raw string) string { return ascii(r.pairs(raw, "&")) }

func (r *Redactor) pairs(raw, separator string) string {
	parts := strings.Split(raw, separator)
	for i, p := range parts {
		key, value, has := strings.Cut(p, "=")
		name, known := shape.Unescape(strings.ReplaceAll(key, "+", " "))
		cleanKey := r.scrub(kindQuery, key)
		if !known || !shape.IsName(name) || !has && r.all && !shape.IsPlain(name) && name != "" {
			// A name that is none, or stands without a value, may be a value.
			cleanKey = r.replace(kindQuery, key)
		}
		if !has {
			parts[i] = cleanKey
			continue
		}
		switch {
		case value == "":
		case r.all || r.replaces(name):
			value = r.replace(kindQuery, value)
		default:
			value = r.scrub(kindQuery, value)
		}
		parts[i] = cleanKey + "=" + value
	}
	return strings.Join(parts, separator)
}

// replaces reports whether values of that name are always replaced.
func (r *Redactor) replaces(name string) bool {
	return r.parameters[strings.ToLower(name)] || workload.IsCredentialHeader(name) || shape.Announces(name)
}

// scrub replaces an escaped value when it looks like a secret, or the parts of it that a pattern matches.
func (r *Redactor) scrub(kind, escaped string) string {
	plain, known := shape.Unescape(escaped)
	if kind == kindQuery {
		plain = strings.ReplaceAll(plain, "+", " ")
	}
	if !known || shape.LooksSecret(plain) || kind == kindQuery && shape.LooksSecret(strings.TrimSpace(plain)) {
		return r.replace(kind, escaped)
	}
	if clean := r.matched(plain); clean != plain {
		return url.PathEscape(clean)
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

// ascii escapes bytes that protobuf's strings, and requests, may not hold.
func ascii(s string) string {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			var b strings.Builder
			for _, c := range []byte(s) {
				if c <= ' ' || c >= 0x7f {
					const hex = "0123456789ABCDEF"
					b.Write([]byte{'%', hex[c>>4], hex[c&15]})
				} else {
					b.WriteByte(c)
				}
			}
			return b.String()
		}
	}
	return s
}
