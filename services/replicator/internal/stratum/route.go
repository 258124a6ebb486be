package stratum

import (
	"net/http"
	"strings"
)

const (
	// maxSegments bounds the depth of a route; what lies deeper is {rest}.
	maxSegments = 8
	// longSegment is the length from which a segment is taken for a value and not for a word of the interface.
	longSegment = 32
	// mixedSegment is the length from which letters together with digits are taken for a value.
	mixedSegment = 8
)

// Routes turns paths into route templates, of which there are at most a given number.
type Routes struct {
	configured [][]string
	templates  []string
	known      *vocabulary
}

// NewRoutes takes templates such as /items/{id}, which are tried first and in order, and the number of routes told apart.
func NewRoutes(templates []string, max int) *Routes {
	r := &Routes{known: newVocabulary(max, Other)}
	for _, t := range templates {
		r.templates = append(r.templates, t)
		r.configured = append(r.configured, segments(t))
	}
	return r
}

// Route returns the method and the template of an escaped path, for example "GET /items/{id}".
func (r *Routes) Route(method, path string) string {
	buf := append(make([]byte, 0, 64), knownMethod(method)...)
	buf = append(buf, ' ')
	parts := segments(path)
	for i, c := range r.configured {
		if matches(c, parts) {
			return r.known.admit(append(buf, r.templates[i]...))
		}
	}
	return r.known.admit(appendTemplate(buf, parts))
}

// knownMethod folds methods that HTTP does not name: a client may send any word.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return "OTHER"
}

// segments splits a path; empty segments do not count.
func segments(path string) []string {
	parts := make([]string, 0, maxSegments)
	for s := range strings.SplitSeq(path, "/") {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return parts
}

func matches(template, parts []string) bool {
	if len(template) != len(parts) {
		return false
	}
	for i, t := range template {
		if placeholder := strings.HasPrefix(t, "{") && strings.HasSuffix(t, "}"); t != parts[i] && !placeholder {
			return false
		}
	}
	return true
}

func appendTemplate(buf []byte, parts []string) []byte {
	if len(parts) == 0 {
		return append(buf, '/')
	}
	if isAsset(parts[len(parts)-1]) {
		// Files have names without number; where they lie tells enough.
		for _, p := range parts[:min(2, len(parts)-1)] {
			buf = appendSegment(buf, p)
		}
		return append(buf, "/{file}"...)
	}
	for i, p := range parts {
		if i == maxSegments {
			return append(buf, "/{rest}"...)
		}
		buf = appendSegment(buf, p)
	}
	return buf
}

func appendSegment(buf []byte, segment string) []byte {
	// A matrix parameter (/a;v=1) is a value.
	segment, _, _ = strings.Cut(segment, ";")
	buf = append(buf, '/')
	if isValue(segment) {
		return append(buf, "{id}"...)
	}
	return append(buf, segment...)
}

// isValue tells a value (a number, a UUID, a hash, a slug with a number) from a word of the interface (items, v1).
func isValue(s string) bool {
	if s == "" || len(s) >= longSegment {
		return true
	}
	digits, letters, hexadecimal := 0, 0, true
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			digits++
		case isLetter(c):
			letters++
			hexadecimal = hexadecimal && (c|0x20) <= 'f'
		case c == '-' || c == '_' || c == '.' || c == '~':
			hexadecimal = hexadecimal && c == '-'
		default:
			return true // escapes, mail addresses, lists: nothing that an interface is made of
		}
	}
	switch {
	case digits > 0 && letters == 0:
		return true // numbers, dates, versions
	case digits > 0 && hexadecimal && len(s) >= 6:
		return true
	}
	return digits > 0 && len(s) >= mixedSegment
}

// isAsset reports whether a file name ends like something that is only ever fetched.
func isAsset(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || len(name)-dot > 8 {
		return false
	}
	switch strings.ToLower(name[dot+1:]) {
	case "css", "js", "mjs", "map", "png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "avif", "bmp", "woff", "woff2", "ttf",
		"otf", "eot", "mp3", "mp4", "webm", "pdf", "txt", "wasm", "webmanifest":
		return true
	}
	return false
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isAlphanumeric(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' }
