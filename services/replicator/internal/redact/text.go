package redact

import (
	"cmp"
	"slices"
	"strings"

	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

// Text replaces, in a header or a body of text, what the patterns match and the words that look like secrets.
func (r *Redactor) Text(s string) string {
	var b strings.Builder
	from := 0
	for _, m := range r.matches(s) {
		r.words(&b, s[from:m[0]])
		b.WriteString(r.sampler.Pseudonym(kindText, s[m[0]:m[1]]))
		from = m[1]
	}
	r.words(&b, s[from:])
	return b.String()
}

// matched replaces what the patterns match in plain text, and nothing else.
func (r *Redactor) matched(s string) string {
	found := r.matches(s)
	if len(found) == 0 {
		return s
	}
	var b strings.Builder
	from := 0
	for _, m := range found {
		b.WriteString(s[from:m[0]])
		b.WriteString(r.sampler.Pseudonym(kindText, s[m[0]:m[1]]))
		from = m[1]
	}
	return b.String() + s[from:]
}

// matches returns where the patterns match, in order; matches that overlap are one.
func (r *Redactor) matches(s string) [][]int {
	var found [][]int
	for _, re := range r.patterns {
		found = append(found, re.FindAllStringIndex(s, -1)...)
	}
	slices.SortFunc(found, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	merged := found[:0]
	for _, m := range found {
		if n := len(merged); n > 0 && m[0] < merged[n-1][1] {
			merged[n-1][1] = max(merged[n-1][1], m[1])
			continue
		}
		merged = append(merged, m)
	}
	return merged
}

func (r *Redactor) words(b *strings.Builder, s string) {
	from := 0
	flush := func(to int) {
		if word := s[from:to]; word != "" {
			b.WriteString(r.word(word))
		}
	}
	for i := range len(s) {
		if !inWord(s[i]) {
			flush(i)
			b.WriteByte(s[i])
			from = i + 1
		}
	}
	flush(len(s))
}

// inWord holds the characters of tokens, in base64 of both alphabets, of mail addresses and of escapes. Bytes of other
// scripts belong to a word, too.
func inWord(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c >= 0x80 || strings.IndexByte("-_.~+/=@%", c) >= 0
}

func (r *Redactor) word(word string) string {
	plain, known := shape.Unescape(word)
	if !known {
		plain = word
	}
	if shape.LooksSecret(plain) && !shape.IsVersioned(plain) {
		return r.sampler.Pseudonym(kindText, plain)
	}
	for piece := range strings.FieldsFuncSeq(plain, func(c rune) bool { return c == '/' || c == '=' || c == '%' }) {
		if shape.LooksSecret(piece) {
			return r.sampler.Pseudonym(kindText, plain)
		}
	}
	return word
}
