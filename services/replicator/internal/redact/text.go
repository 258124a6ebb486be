package redact

import (
	"strings"

	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

// Text replaces, in a header or a body of text, what the patterns match and the words that look like secrets.
func (r *Redactor) Text(s string) string {
	s = r.matched(s)
	var b strings.Builder
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
	return b.String()
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
	for piece := range strings.FieldsFuncSeq(plain, func(c rune) bool { return strings.ContainsRune("/=%", c) }) {
		if shape.LooksSecret(piece) {
			return r.sampler.Pseudonym(kindText, plain)
		}
	}
	return word
}
