package wire

import (
	"net/textproto"
	"strings"
)

// maxDigits of a length keep it far from what overflows.
const maxDigits = 15

// field reads one line without its end.
func field(line string) (f Field, ok bool) {
	colon := strings.IndexByte(line, ':')
	if colon <= 0 || !all(line[:colon], inToken) || !all(line[colon+1:], inValue) {
		return f, false
	}
	return Field{Name: textproto.CanonicalMIMEHeaderKey(line[:colon]), Value: strings.Trim(line[colon+1:], " \t")}, true
}

// fields reads the lines of a head behind its first one; head ends with the empty line.
func fields(head string, into []Field) ([]Field, bool) {
	for {
		end := strings.Index(head, "\r\n")
		switch {
		case end < 0:
			return into, false
		case end == 0:
			return into, len(head) == len("\r\n")
		}
		f, ok := field(head[:end])
		if !ok {
			return into, false
		}
		f.line, head = head[:end+2], head[end+2:]
		into = append(into, f)
	}
}

// length reads a Content-Length, which is digits and nothing else.
func length(value string) (int64, bool) {
	if value == "" || len(value) > maxDigits {
		return 0, false
	}
	var n int64
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(value[i]-'0')
	}
	return n, true
}

// connection tells what Connection says: close or not; false when it says more.
func connection(value string) (closes, ok bool) {
	switch {
	case strings.EqualFold(value, "keep-alive"):
		return false, true
	case strings.EqualFold(value, "close"):
		return true, true
	}
	return false, false
}
