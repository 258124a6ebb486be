package wire

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
)

// Request is a plain request. Its strings are parts of one copy of the head, so that they outlive the buffer it came in.
type Request struct {
	Method string
	// Target is in origin form, as it came; URL is what net/url makes of it, and gives the same target back.
	Target string
	URL    *url.URL
	Host   string
	Fields []Field
	// Head and Body are sizes in bytes.
	Head int64
	Body int64
	// Closes: the client wants no further request on this connection.
	Closes bool
}

// Size is that of the whole request in bytes.
func (r *Request) Size() int64 { return r.Head + r.Body }

var endOfHead = []byte("\r\n\r\n")

// ReadRequest reads the request that buf begins with. The space of a former request in r is used again. Of a request that is
// not complete the sizes are known once its head is there.
func ReadRequest(buf []byte, r *Request) Verdict {
	end := bytes.Index(buf, endOfHead)
	if end < 0 {
		r.Head, r.Body = 0, 0
		return More
	}
	head := string(buf[:end+len(endOfHead)])
	*r = Request{Head: int64(len(head)), Fields: r.Fields[:0]}
	if !r.first(&head) {
		return Unusual
	}
	var ok bool
	if r.Fields, ok = fields(head, r.Fields); !ok || !r.look() {
		return Unusual
	}
	if int64(len(buf)) < r.Size() {
		return More
	}
	return Plain
}

// first reads the first line, and leaves the others.
func (r *Request) first(head *string) bool {
	line, rest, _ := strings.Cut(*head, "\r\n")
	*head = rest
	var version string
	var ok bool
	if r.Method, line, ok = strings.Cut(line, " "); !ok || !isMethod(r.Method) {
		return false
	}
	if r.Target, version, ok = strings.Cut(line, " "); !ok || version != "HTTP/1.1" {
		return false
	}
	if len(r.Target) == 0 || r.Target[0] != '/' || strings.HasPrefix(r.Target, "//") || !all(r.Target, inTarget) {
		return false
	}
	var err error
	r.URL, err = url.ParseRequestURI(r.Target)
	return err == nil && r.URL.RequestURI() == r.Target
}

// look checks what the fields say about the message itself.
func (r *Request) look() bool {
	lengths := 0
	for _, f := range r.Fields {
		switch f.Name {
		case "Host":
			if r.Host != "" || f.Value == "" || !all(f.Value, inHost) {
				return false
			}
			r.Host = f.Value
		case "Content-Length":
			n, ok := length(f.Value)
			if lengths++; !ok || lengths > 1 || n > 0 && (r.Method == http.MethodGet || r.Method == http.MethodOptions) {
				return false
			}
			r.Body = n
		case "Connection":
			closes, ok := connection(f.Value)
			if !ok {
				return false
			}
			r.Closes = r.Closes || closes
		case "Transfer-Encoding", "Trailer", "Te", "Upgrade", "Expect", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization":
			return false
		}
	}
	return r.Host != ""
}

// isMethod lists the plain ones: HEAD and what is rare are not worth a second implementation.
func isMethod(m string) bool {
	switch m {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

// Forward says what a proxy adds to a request.
type Forward struct {
	// Client is the address of the client, without a port.
	Client string
	// Trust keeps and extends what a proxy in front has said of the client.
	Trust bool
}

// Append appends the head of the request as the next server is to get it.
func (r *Request) Append(out []byte, by Forward) []byte {
	out = append(append(append(append(out, r.Method...), ' '), r.Target...), " HTTP/1.1\r\n"...)
	host, proto, sources := false, false, false
	for _, f := range r.Fields {
		switch f.Name {
		case "Connection", "X-Forwarded-For":
			sources = sources || f.Name != "Connection"
			continue
		case "Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto":
			if !by.Trust {
				continue
			}
			host, proto = host || f.Name == "X-Forwarded-Host", proto || f.Name == "X-Forwarded-Proto"
		}
		out = append(out, f.line...)
	}
	out = append(out, "X-Forwarded-For: "...)
	if sources && by.Trust {
		for _, f := range r.Fields {
			if f.Name == "X-Forwarded-For" {
				out = append(append(out, f.Value...), ", "...)
			}
		}
	}
	out = append(append(out, by.Client...), "\r\n"...)
	if !host {
		out = append(append(append(out, "X-Forwarded-Host: "...), r.Host...), "\r\n"...)
	}
	if !proto {
		out = append(out, "X-Forwarded-Proto: http\r\n"...)
	}
	return append(out, "\r\n"...)
}
