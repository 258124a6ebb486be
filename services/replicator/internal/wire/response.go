package wire

import (
	"bytes"
	"net/http"
	"strings"
)

// Response is the head of a plain response: a final one with a length, and with a body unless that is 0. Answers to HEAD
// look like one and are none.
type Response struct {
	Status int
	Fields []Field
	// Head is the size of the head, and Body that of the body, in bytes.
	Head int
	Body int64
	// line is the first one, with its end.
	line string
}

// ReadResponse reads the head of the response that buf begins with; the body may be incomplete.
func ReadResponse(buf []byte, r *Response) Verdict {
	end := bytes.Index(buf, endOfHead)
	if end < 0 {
		return More
	}
	head := string(buf[:end+len(endOfHead)])
	*r = Response{Head: len(head), Fields: r.Fields[:0]}
	line, rest, _ := strings.Cut(head, "\r\n")
	r.line = head[:len(line)+len("\r\n")]
	var ok bool
	if !r.first(line) {
		return Unusual
	}
	if r.Fields, ok = fields(rest, r.Fields); !ok || !r.look() {
		return Unusual
	}
	return Plain
}

func (r *Response) first(line string) bool {
	const before = "HTTP/1.1 "
	if len(line) < len(before)+len("200 ") || line[:len(before)] != before || line[len(before)+3] != ' ' || !all(line, inValue) {
		return false
	}
	for _, c := range []byte(line[len(before) : len(before)+3]) {
		if c < '0' || c > '9' {
			return false
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	return r.Status >= http.StatusOK && r.Status != http.StatusNoContent && r.Status != http.StatusNotModified
}

func (r *Response) look() bool {
	lengths, dated := 0, false
	for _, f := range r.Fields {
		switch f.Name {
		case "Content-Length":
			n, ok := length(f.Value)
			if lengths++; !ok || lengths > 1 {
				return false
			}
			r.Body = n
		case "Date":
			dated = true
		case "Connection":
			if closes, ok := connection(f.Value); !ok || closes {
				return false
			}
		case "Content-Type":
			if len(f.Value) > 4 && strings.EqualFold(f.Value[:5], "text/") && strings.Contains(strings.ToLower(f.Value), "event-stream") {
				return false
			}
		case "Transfer-Encoding", "Trailer", "Te", "Upgrade", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization":
			return false
		}
	}
	// A proxy adds the date that an instance without a clock leaves out.
	return lengths == 1 && dated
}

// Append appends the head as the client is to get it.
func (r *Response) Append(out []byte, closes bool) []byte {
	out = append(out, r.line...)
	for _, f := range r.Fields {
		if f.Name != "Connection" && f.Name != "Keep-Alive" {
			out = append(out, f.line...)
		}
	}
	if closes {
		out = append(out, "Connection: close\r\n"...)
	}
	return append(out, "\r\n"...)
}
