package redact

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/foreshadow/foreshadow/services/replicator/internal/shape"
)

// maxParts bounds the parts of a multipart body.
const maxParts = 1000

// Body returns what may leave of a body, or false when it cannot be read as what it says it is. cut: it is the beginning of
// a longer one; then what may be half of something is left out.
func (r *Redactor) Body(contentType string, data []byte, cut bool) ([]byte, bool) {
	media, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, false
	}
	switch {
	case media == "application/x-www-form-urlencoded":
		if cut {
			data = data[:max(0, bytes.LastIndexByte(data, '&'))]
		}
		return []byte(r.Form(string(data))), true
	case IsJSON(media):
		out, err := r.jsonBody(data)
		return out, err == nil || cut
	case media == "multipart/form-data":
		return r.multipart(data, parameters["boundary"], cut)
	case isText(media):
		if !utf8.Valid(data) && !cut {
			return nil, false
		}
		if cut {
			data = data[:max(0, bytes.LastIndexAny(data, " \t\r\n"))]
		}
		return []byte(r.Text(strings.ToValidUTF8(string(data), "\uFFFD"))), true
	}
	return data, true
}

// IsJSON reports whether a media type is JSON under any of its names.
func IsJSON(media string) bool {
	return media == "application/json" || media == "text/json" || media == "application/x-ndjson" || strings.HasSuffix(media, "+json")
}

func isText(media string) bool {
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+xml") || media == "application/xml" || media == "application/graphql"
}

// multipart writes the parts anew: values of fields are treated like those of a form, files become their pseudonym.
func (r *Redactor) multipart(data []byte, boundary string, cut bool) ([]byte, bool) {
	if boundary == "" {
		return nil, false
	}
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	if err := w.SetBoundary(r.boundary); err != nil {
		return nil, false
	}
	in := multipart.NewReader(bytes.NewReader(data), boundary)
	whole := r.parts(w, in)
	if err := w.Close(); err != nil {
		return nil, false
	}
	return out.Bytes(), whole || cut
}

// parts reports whether all parts could be read to the end.
func (r *Redactor) parts(w *multipart.Writer, in *multipart.Reader) bool {
	for n := range maxParts {
		part, err := in.NextRawPart()
		if err != nil {
			return errors.Is(err, io.EOF) && n > 0
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return false // what was read of it may be half of something
		}
		if err := r.part(w, part, string(value)); err != nil {
			return false
		}
	}
	return false
}

func (r *Redactor) part(w *multipart.Writer, part *multipart.Part, value string) error {
	name, file := part.FormName(), part.FileName()
	disposition := "form-data; name=" + strconv.Quote(r.identifier(name))
	switch {
	case file != "":
		disposition += "; filename=" + strconv.Quote(r.sampler.Pseudonym("file", file))
		value = r.sampler.Pseudonym("file", value)
	case value == "":
	case r.all || name == "" || r.replaces(name) || !utf8.ValidString(value) || part.Header.Get("Content-Transfer-Encoding") != "":
		value = r.sampler.Pseudonym(kindQuery, value)
	default:
		value = r.Text(value)
	}
	out, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}})
	if err == nil {
		_, err = out.Write([]byte(value))
	}
	return err
}

// Admits reports whether the name of a field may leave.
func (r *Redactor) Admits(name string) bool {
	return shape.IsName(name) && !shape.LooksSecret(name) && len(r.matches(name)) == 0
}

// Media returns the media type of a content type, without its parameters; empty when it is none, or may be a secret.
func (r *Redactor) Media(contentType string) string { return r.known.header(r, mediaType, contentType) }

func (r *Redactor) media(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || ascii(media) != media || r.Text(media) != media {
		return ""
	}
	return media
}

// identifier replaces a name that is none.
func (r *Redactor) identifier(name string) string {
	if r.Admits(name) {
		return name
	}
	return r.sampler.Pseudonym(kindQuery, name)
}
