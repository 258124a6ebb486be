package tap

import (
	"crypto/sha256"
	"hash"
	"mime"
	"net/http"
	"strings"
	"sync"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// FormType is the body type that is redacted like a query.
const FormType = "application/x-www-form-urlencoded"

// capture keeps a request body while it streams by, up to a bound; of a larger one it keeps size and hash.
type capture struct {
	limit int64
	form  bool

	mu   sync.Mutex
	data []byte
	size int64
	hash hash.Hash
}

// newCapture returns nil when the policy keeps nothing of the body: safe methods carry none that matters, and only listed
// types travel.
func newCapture(r *http.Request, limit int64, types map[string]bool) *capture {
	if r.ContentLength == 0 || isSafe(r.Method) || limit == 0 || r.Header.Get("Content-Encoding") != "" {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !types[mediaType] {
		return nil
	}
	return &capture{limit: limit, form: mediaType == FormType, hash: sha256.New()}
}

// Write implements io.Writer; it never errs.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size += int64(len(p))
	c.hash.Write(p)
	if c.size <= c.limit {
		c.data = append(c.data, p...)
	} else {
		c.data = nil
	}
	return len(p), nil
}

// fill puts into the copy what the policy keeps.
func (c *capture) fill(m *foreshadowv1.CapturedRequest, redactForm func(string) string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.BodySizeBytes = c.size
	switch {
	case c.size > c.limit:
		m.BodyDisposition = foreshadowv1.BodyDisposition_BODY_DISPOSITION_HASH
		m.BodySha256 = c.hash.Sum(nil)
	case c.form:
		m.BodyDisposition = foreshadowv1.BodyDisposition_BODY_DISPOSITION_FULL
		m.Body = []byte(redactForm(string(c.data)))
	default:
		m.BodyDisposition = foreshadowv1.BodyDisposition_BODY_DISPOSITION_FULL
		m.Body = c.data
	}
}

func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

func typeSet(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, t := range list {
		set[strings.ToLower(strings.TrimSpace(t))] = true
	}
	return set
}
