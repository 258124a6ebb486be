package bodyshape

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxBytes of a body are read, after its coding is undone; of a longer one no shape is known.
const MaxBytes = 64 << 10

// Why the shape of an answer is not known.
var (
	ErrEncoding   = errors.New("encoding")   // a content coding other than gzip
	ErrOversize   = errors.New("oversize")   // longer than MaxBytes
	ErrUnreadable = errors.New("unreadable") // no JSON document, or the beginning of one
	ErrFields     = errors.New("fields")     // more fields than are told apart
)

// IsJSON reports whether a content type is that of one JSON document.
func IsJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json") && !strings.HasPrefix(media, "application/grpc"))
}

// Decodes reports whether a body of that Content-Encoding can be read.
func Decodes(encoding string) bool {
	return encoding == "" || strings.EqualFold(encoding, "identity") || isGzip(encoding)
}

func isGzip(encoding string) bool {
	return strings.EqualFold(encoding, "gzip") || strings.EqualFold(encoding, "x-gzip")
}

// Read returns the shape of a JSON body that has the given Content-Encoding, or one of the errors above. All names that can
// be some are in it. The body is not kept.
func Read(encoding string, body []byte) (*Shape, error) {
	switch {
	case !Decodes(encoding):
		return nil, ErrEncoding
	case len(body) > MaxBytes:
		return nil, ErrOversize
	}
	r := readers.Get().(*reader)
	defer r.release()
	if isGzip(encoding) {
		var err error
		if body, err = r.unzip(body); err != nil {
			return nil, err
		}
	}
	return r.document(body)
}

var readers = sync.Pool{New: func() any { return &reader{} }}

// reader is reused, since what it holds costs more than reading a short document does.
type reader struct {
	json   jsontext.Decoder
	in     bytes.Buffer
	gzip   gzip.Reader
	plain  bytes.Buffer
	fields int
}

func (r *reader) release() {
	r.in = bytes.Buffer{} // not to hold the body
	r.plain.Reset()
	readers.Put(r)
}

// unzip reads no more than MaxBytes, of however much there is.
func (r *reader) unzip(body []byte) ([]byte, error) {
	if err := r.gzip.Reset(bytes.NewReader(body)); err != nil {
		return nil, ErrUnreadable
	}
	n, err := io.Copy(&r.plain, io.LimitReader(&r.gzip, MaxBytes+1))
	switch {
	case n > MaxBytes:
		return nil, ErrOversize
	case err != nil:
		return nil, ErrUnreadable
	}
	return r.plain.Bytes(), nil
}

func (r *reader) document(body []byte) (*Shape, error) {
	r.fields = 0
	r.in = *bytes.NewBuffer(body)
	// Names that come twice, and strings that are no UTF-8, are what an instance may send.
	r.json.Reset(&r.in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	s := &Shape{}
	if err := r.value(s, 0); err != nil {
		if errors.Is(err, ErrFields) {
			return nil, ErrFields
		}
		return nil, ErrUnreadable
	}
	if _, err := r.json.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, ErrUnreadable
	}
	return s, nil
}

// value reads the next value into a shape.
func (r *reader) value(s *Shape, depth int) error {
	switch kind := r.json.PeekKind(); kind {
	case '{':
		s.Types |= Object
		if depth < maxDepth {
			return r.object(s, depth)
		}
	case '[':
		s.Types |= Array
		if depth < maxDepth {
			return r.array(s, depth)
		}
	default:
		s.Types |= scalar(kind)
	}
	return r.json.SkipValue()
}

func scalar(kind jsontext.Kind) Types {
	switch kind {
	case '"':
		return String
	case '0':
		return Number
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	}
	return 0 // what it is, reading it will say
}

func (r *reader) object(s *Shape, depth int) error {
	if _, err := r.json.ReadToken(); err != nil {
		return err
	}
	for r.json.PeekKind() == '"' {
		raw, err := r.json.ReadValue()
		if err != nil {
			return err
		}
		child, err := r.field(s, raw)
		if err != nil {
			return err
		}
		if err := r.value(child, depth+1); err != nil {
			return err
		}
	}
	_, err := r.json.ReadToken()
	return err
}

func (r *reader) array(s *Shape, depth int) error {
	if _, err := r.json.ReadToken(); err != nil {
		return err
	}
	for kind := r.json.PeekKind(); kind != ']' && kind != 0; kind = r.json.PeekKind() {
		if s.Items == nil {
			if err := r.count(); err != nil {
				return err
			}
		}
		if err := r.value(s.items(), depth+1); err != nil {
			return err
		}
	}
	_, err := r.json.ReadToken()
	return err
}

// field is the shape for the value of a name, which is quoted.
func (r *reader) field(s *Shape, raw jsontext.Value) (*Shape, error) {
	name := raw[1 : len(raw)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name, _ = jsontext.AppendUnquote(nil, raw) // what cannot be unquoted is no name
	}
	if child := s.Fields[string(name)]; child != nil {
		return child, nil
	}
	if s.isMap || !IsName(string(name)) {
		if s.Rest == nil {
			return s.rest(), r.count()
		}
		return s.Rest, nil
	}
	child := &Shape{}
	s.set(string(name), child)
	if len(s.Fields) > maxNames {
		r.fields -= len(s.Fields) - 1
		s.fold()
		child = s.rest()
	}
	return child, r.count()
}

// count bounds the work that a document makes afterwards.
func (r *reader) count() error {
	if r.fields++; r.fields > maxFields {
		return ErrFields
	}
	return nil
}
