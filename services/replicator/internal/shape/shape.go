// Package shape judges strings by what they look like, without knowing where they come from: secrets, words of an interface,
// names of parameters. It errs towards taking a string for a secret.
package shape

import (
	"net/url"
	"strings"
)

const (
	// tokenLength is the length from which a value that is neither words nor numbers counts as a token.
	tokenLength = 16
	// wordLength is the length up to which letters alone are a word; the longest in common use are shorter.
	wordLength = 28
	uuidLength = 36
	minCard    = 13 // digits of a payment card
	maxCard    = 19
	minPhone   = 8 // digits behind a plus
	// maxEscapes is how many times a value may be percent-encoded; more often is meant to hide something.
	maxEscapes = 4
	// longWord is the length from which a word must be pronounceable to be one.
	longWord = 12
	// maxMixed is the length up to which letters and digits may mix in a piece of a slug.
	maxMixed = 8
	// maxConsonants in a row; words that have more are made up.
	maxConsonants = 5
)

// Unescape undoes percent-encoding until nothing is left to undo. It is not ok when an escape is broken or they never end.
func Unescape(escaped string) (plain string, ok bool) {
	if strings.IndexByte(escaped, '%') < 0 {
		return escaped, true
	}
	for range maxEscapes + 1 {
		next, err := url.PathUnescape(escaped)
		if err != nil {
			return escaped, false
		}
		if next == escaped {
			return next, true
		}
		escaped = next
	}
	return escaped, false
}

// IsPlain reports whether s is made of pronounceable words alone, such as about-us or getUserById: no digits, no random
// letters.
func IsPlain(s string) bool {
	words := false
	for piece := range strings.FieldsFuncSeq(s, func(c rune) bool { return c < 0x80 && strings.IndexByte("-_.~", byte(c)) >= 0 }) {
		// Words in camel case have some letters each; random letters change their case at every second one.
		if n := humps(piece); len(piece) > wordLength || !isPronounceable(piece) || n > 1 && 2*len(piece) < 5*n {
			return false
		}
		words = true
	}
	return words
}

// humps counts the words of a camel-case piece.
func humps(piece string) int {
	if piece == "" {
		return 0
	}
	n := 1
	for i := 1; i < len(piece); i++ {
		if piece[i] < 'a' && piece[i-1] >= 'a' {
			n++
		}
	}
	if n > 1 && piece[0] >= 'a' && len(piece) > 1 && piece[1] < 'a' {
		n++ // no word is a single small letter
	}
	return n
}

func isPronounceable(letters string) bool {
	run, vowels := 0, 0
	for i := range len(letters) {
		c := letters[i] | 0x20
		if c < 'a' || c > 'z' {
			return false
		}
		if strings.IndexByte("aeiouy", c) >= 0 {
			run, vowels = 0, vowels+1
			continue
		}
		if run++; run > maxConsonants {
			return false
		}
	}
	// Abbreviations (css, html) have no vowels, and are short.
	return len(letters) < 6 || vowels*9 >= len(letters)
}

// IsName reports whether s may be the name of a parameter or of a key: an identifier, perhaps with indices.
func IsName(s string) bool {
	if len(s) > tokenLength*4 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("-_.[]$:", c) < 0 {
			return false
		}
	}
	for piece := range strings.FieldsFuncSeq(s, func(c rune) bool { return c < 0x80 && strings.IndexByte("-_.[]$:", byte(c)) >= 0 }) {
		if !isWord(piece) && !isShortNumber(piece) {
			return false
		}
	}
	return true
}

// Announces reports whether a path segment says that the next one is a secret: /reset/<token>, /session/<id>.
func Announces(segment string) bool {
	switch strings.ToLower(segment) {
	case "token", "tokens", "secret", "secrets", "password", "passwords", "passwd", "pwd", "reset", "password-reset", "reset-password",
		"verify", "verification", "confirm", "confirmation", "activate", "activation", "invite", "invites", "invitation", "invitations",
		"unsubscribe", "magic", "magic-link", "otp", "pin", "pincode", "apikey", "apikeys", "api-key", "api-keys", "api_key",
		"credential", "credentials", "session", "sessions", "sessionid", "sid", "jwt", "bearer", "signature":
		return true
	}
	return false
}

// IsVerb lists what may follow such a segment without being a secret: /password/reset.
func IsVerb(segment string) bool {
	switch strings.ToLower(segment) {
	case "new", "edit", "change", "forgot", "update", "create", "delete", "list", "login", "logout", "refresh", "revoke", "validate",
		"check", "resend", "request", "start", "end", "current", "me", "all", "success", "error", "status":
		return true
	}
	return Announces(segment)
}

// LooksSecret judges an unescaped path segment or parameter by its shape: mail addresses, long tokens, payment cards,
// telephone numbers with a plus. Numbers, UUIDs, words, slugs and file names stay: without them the copy would ask the
// shadow for something that is not there. It errs towards replacing.
func LooksSecret(s string) bool {
	switch {
	case isMail(s), isPhone(s), isCard(s), hasPrefix(s):
		return true
	case len(s) < tokenLength, isDigits(s), isUUID(s):
		return false
	}
	return !isSlug(trimExtension(s))
}

// hasPrefix knows the beginnings by which issuers let their keys be recognised.
func hasPrefix(s string) bool {
	if len(s) < tokenLength || strings.IndexByte("AagxsprwSnphd-eyg", s[0]) < 0 {
		return false
	}
	for _, p := range []string{
		"AKIA", "ASIA", "AIza", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "xoxa-", "xapp-",
		"sk-", "sk_", "pk_live_", "rk_live_", "whsec_", "SG.", "npm_", "pypi-", "dop_v1_", "hvs.", "eyJ", "ya29.", "-----BEGIN",
	} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func isMail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && strings.IndexByte(s[at:], '.') > 1
}

// isPhone accepts a plus, or the blank that it becomes in a query, and digits that people group.
func isPhone(s string) bool {
	return len(s) > minPhone && (s[0] == '+' || s[0] == ' ') && countDigits(s[1:], " -/") > 0
}

// countDigits counts the digits of s; 0 when it holds anything else but the separators.
func countDigits(s, separators string) int {
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n++
		case strings.IndexByte(separators, c) < 0:
			return 0
		}
	}
	return n
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isCard reports whether the digits, which people group by blanks and dashes, pass Luhn's check as all payment cards do.
// So does one in ten numbers of that length.
func isCard(s string) bool {
	n := countDigits(s, " -")
	if n < minCard || n > maxCard {
		return false
	}
	sum := 0
	for i := range len(s) {
		if s[i] < '0' {
			continue // a separator
		}
		d := int(s[i] - '0')
		if n--; n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

func isUUID(s string) bool {
	if len(s) != uuidLength {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !isHex(s[i]) {
				return false
			}
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// trimExtension drops a short file extension: report-of-the-year.pdf is words, too.
func trimExtension(s string) string {
	if dot := strings.LastIndexByte(s, '.'); dot > 0 && len(s)-dot <= 6 {
		return s[:dot]
	}
	return s
}

// isJoint reports whether a character joins the pieces of a slug.
func isJoint(c rune) bool { return c < 0x80 && strings.IndexByte("-_.~ ,:+!()'*", byte(c)) >= 0 }

// isSlug reports whether s is made of words and numbers, such as red-shoes-2024 or getUserProfile, or short pieces.
func isSlug(s string) bool {
	other := 0
	for p := range strings.FieldsFuncSeq(s, isJoint) {
		if !isWord(p) && !isShortNumber(p) {
			if len(p) > maxMixed {
				return false
			}
			other += len(p)
		}
	}
	// A short mixture, such as ec2 or 120x120, may stand beside words that make up the most of it.
	return other*2 <= len(s)
}

// dropOthers leaves the letters of ASCII: those of another script are not random.
func dropOthers(c rune) rune {
	if c >= 0x80 {
		return 'a'
	}
	return c
}

// isWord accepts plain and camel-case words with up to four digits at one end, such as iphone15, v2, getUserById.
func isWord(p string) bool {
	letters := strings.Trim(p, "0123456789")
	if len(p)-len(letters) > 4 || len(letters) > wordLength {
		return false
	}
	humps := 0
	for i := range len(letters) {
		c := letters[i]
		if c >= 0x80 {
			continue // another script: a token would be ASCII
		}
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
		if i > 0 && (c >= 'a') != (letters[i-1] >= 'a') {
			humps++
		}
	}
	if len(letters) >= longWord && !isPronounceable(strings.Map(dropOthers, letters)) {
		return false
	}
	// A camel hump takes two changes of case and some letters; random letters change at every second one.
	return humps*3 <= len(letters)+2
}

func isShortNumber(p string) bool { return len(p) <= 12 && isDigits(p) }

// IsVersioned accepts what agents and media types are made of: words and numbers joined by slashes, name/1.2 or text/html.
func IsVersioned(s string) bool {
	for piece := range strings.SplitSeq(s, "/") {
		if !isSlug(strings.TrimRight(piece, "=")) && !IsPlain(piece) {
			return false
		}
	}
	return true
}
