package stratum

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

const (
	// maxSegments bounds the depth of a route; what lies deeper is {rest}.
	maxSegments = 8
	// maxWord is the length up to which a segment may be a word of the interface.
	maxWord = 31

	placeID   = "/{id}"
	placeSlug = "/{slug}"
	placeFile = "/{file}"
	placeRest = "/{rest}"
)

// Routes turns paths into route templates, of which there are at most a given number at any moment. Configured templates
// come first. Else a segment is a value by its shape (numbers, UUIDs, hashes, tokens, whatever holds a digit or an escape),
// or because its place has seen too many distinct words (slugs). Nothing that looks like a secret becomes part of a route.
type Routes struct {
	configured [][]string
	templates  []string
	known      *vocabulary
	learned    *tree
	// patterns match what must not become a part of a route.
	patterns []*regexp.Regexp
	// forgot is told when routes were given up; may be nil.
	forgot func()
}

// NewRoutes takes templates such as /items/{id}, which are tried first and in order, the number of routes told apart, and
// the number of distinct words from which a place of the path is taken for a value.
func NewRoutes(templates []string, max, words int) *Routes {
	r := &Routes{known: newVocabulary(max, Other), learned: newTree(words)}
	for _, t := range templates {
		r.templates = append(r.templates, t)
		r.configured = append(r.configured, segments(t))
	}
	return r
}

// Route returns the method and the template of an escaped path, for example "GET /items/{id}"; for gRPC the full method.
func (r *Routes) Route(method, path string, grpc bool) string {
	buf := make([]byte, 0, 64)
	if grpc && isFullMethod(path) && !r.matchesPattern(path) {
		return r.known.admit(append(buf, path...))
	}
	buf = append(buf, knownMethod(method)...)
	buf = append(buf, ' ')
	parts := segments(path)
	if i := r.match(parts); i >= 0 {
		return r.known.admit(append(buf, r.templates[i]...))
	}
	buf, forgot := r.template(buf, parts)
	if forgot {
		// Names that had been given away to what is a value now are free again.
		r.known.forget()
		if r.forgot != nil {
			r.forgot()
		}
	}
	return r.known.admit(buf)
}

func (r *Routes) match(parts []string) int {
	for i, c := range r.configured {
		if Matches(c, parts) {
			return i
		}
	}
	return -1
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

// Matches reports whether a path matches a template, both split into segments; a segment in braces matches any.
func Matches(template, parts []string) bool {
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

// template appends the template of a path that no configured one matches, and learns from it.
func (r *Routes) template(buf []byte, parts []string) (_ []byte, forgot bool) {
	if len(parts) == 0 {
		return append(buf, '/'), false
	}
	end := ""
	if isAsset(parts[len(parts)-1]) {
		// Files have names without number; where they lie tells enough.
		parts, end = parts[:min(2, len(parts)-1)], placeFile
	} else if len(parts) > maxSegments {
		parts, end = parts[:maxSegments], placeRest
	}
	r.learned.mu.Lock()
	defer r.learned.mu.Unlock()
	t := templater{tree: r.learned, at: r.learned.root}
	announced := false
	for _, p := range parts {
		// A matrix parameter (/a;v=1) is a value.
		p, _, _ = strings.Cut(p, ";")
		secret := announced && !shape.IsVerb(p)
		announced = shape.Announces(p)
		switch {
		case !secret && t.known(p):
			buf = append(append(buf, '/'), p...)
		case secret, !isWord(p), r.matchesPattern(p):
			t.skip()
			buf = append(buf, placeID...)
		case t.word(p):
			buf = append(append(buf, '/'), p...)
		default:
			buf = append(buf, placeSlug...)
		}
	}
	return append(buf, end...), t.forgot
}

func (r *Routes) matchesPattern(segment string) bool {
	return slices.ContainsFunc(r.patterns, func(re *regexp.Regexp) bool { return re.MatchString(segment) })
}

// isWord tells a word of the interface (items, v1, about-us, getUserById) from a value (a number, a UUID, a hash, a slug
// with a number, an escape). Short secrets hold digits, so that words with digits are few and named.
func isWord(s string) bool {
	if s == "" || len(s) > maxWord {
		return false
	}
	digits := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits = true
		case !isLetter(c) && c != '-' && c != '_' && c != '.' && c != '~':
			return false // escapes, mail addresses, lists: nothing that an interface is made of
		}
	}
	if digits {
		return isVersion(s) || isTechnical(s)
	}
	return shape.IsPlain(s) && !shape.LooksSecret(s)
}

// isVersion accepts v1 to v999.
func isVersion(s string) bool {
	if len(s) < 2 || len(s) > 4 || s[0]|0x20 != 'v' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// isTechnical lists words with digits that interfaces are made of.
func isTechnical(s string) bool {
	switch strings.ToLower(s) {
	case "oauth2", "s3", "mp3", "mp4", "ipv4", "ipv6", "md5", "sha1", "sha256", "base64", "utf8", "web3", "http2", "k8s", "i18n",
		"l10n", "a11y", "x509", "e2e", "b2b", "b2c", "p2p", "2fa", "3d", "h2", "c3p0", "log4j":
		return true
	}
	return false
}

// isFullMethod accepts /package.Service/Method as gRPC names them.
func isFullMethod(path string) bool {
	service, method, has := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !has || !strings.HasPrefix(path, "/") || len(path) > 200 || service == "" || method == "" {
		return false
	}
	for i := 1; i < len(path); i++ {
		if c := path[i]; !isAlphanumeric(c) && c != '_' && c != '.' && c != '/' {
			return false
		}
	}
	for piece := range strings.SplitSeq(service, ".") {
		if !shape.IsPlain(strings.TrimRight(piece, "0123456789")) {
			return false
		}
	}
	return !strings.ContainsAny(method, "/.") && !shape.LooksSecret(method) && shape.IsPlain(strings.TrimRight(method, "0123456789"))
}

// isAsset reports whether a file name ends like something that is only ever fetched.
func isAsset(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || len(name)-dot > 8 {
		return false
	}
	if plain, err := url.PathUnescape(name); err != nil || strings.ContainsRune(plain, '@') {
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
