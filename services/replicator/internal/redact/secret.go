package redact

import "strings"

const (
	// tokenLength is the length from which a value that is neither words nor numbers counts as a token.
	tokenLength = 16
	// wordLength is the length up to which letters alone are a word; the longest in common use are shorter.
	wordLength = 28
	uuidLength = 36
	minCard    = 13 // digits of a payment card
	maxCard    = 19
	minPhone   = 8 // digits behind a plus
)

// LooksSecret judges an unescaped path segment or parameter by its shape: mail addresses, long tokens, payment cards,
// telephone numbers with a plus. Numbers, UUIDs, words, slugs and file names stay: without them the copy would ask the
// shadow for something that is not there. It errs towards replacing.
func LooksSecret(s string) bool {
	switch {
	case isMail(s), isPhone(s), isCard(s):
		return true
	case len(s) < tokenLength, isDigits(s), isUUID(s):
		return false
	}
	return !isSlug(trimExtension(s))
}

func isMail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && strings.IndexByte(s[at:], '.') > 1
}

func isPhone(s string) bool {
	return len(s) > minPhone && (s[0] == '+' || s[0] == ' ') && isDigits(strings.NewReplacer(" ", "", "-", "", "/", "").Replace(s[1:]))
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
	digits := strings.NewReplacer(" ", "", "-", "").Replace(s)
	if len(digits) < minCard || len(digits) > maxCard || !isDigits(digits) {
		return false
	}
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
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

// isSlug reports whether s is made of words and numbers, such as red-shoes-2024 or getUserProfile, or short pieces.
func isSlug(s string) bool {
	pieces := strings.FieldsFunc(s, func(c rune) bool {
		return strings.ContainsRune("-_.~ ,:+!()'*", c)
	})
	for _, p := range pieces {
		if !isWord(p) && !isShortNumber(p) {
			return false
		}
	}
	return true
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
	// A camel hump takes two changes of case and some letters; random letters change at every second one.
	return humps*3 <= len(letters)+2
}

func isShortNumber(p string) bool { return len(p) <= 12 && isDigits(p) }
