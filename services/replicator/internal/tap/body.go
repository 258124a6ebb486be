package tap

import (
	"hash"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/redact"
)

// Media types of bodies that can be redacted, and are kept by default.
const (
	FormType      = "application/x-www-form-urlencoded"
	JSONType      = "application/json"
	MultipartType = "multipart/form-data"
)

// capture keeps a request body while it streams by, up to a bound; of a larger one it keeps size and hash.
type capture struct {
	policy workload.BodyPolicy
	limit  int64

	mu   sync.Mutex
	data []byte
	size int64
	hash hash.Hash
}

// newCapture returns nil when the policy keeps nothing of the body: safe methods carry none that matters, and only listed
// types travel, of which no more than size and hash when they are compressed.
func (s *settings) newCapture(r *http.Request, rule *rule) *capture {
	if r.ContentLength == 0 || isSafe(r.Method) || rule.body == workload.BodyNone {
		return nil
	}
	c := &capture{policy: rule.body, limit: s.workload.Tap.MaxBodyBytes, hash: s.sampler.Digest()}
	switch {
	case c.policy == workload.BodyHash:
		return c
	case c.limit == 0 || r.Header.Get("Content-Encoding") != "" || !s.keeps(r.Header.Get("Content-Type")):
		return nil
	case c.policy == workload.BodyPrefix:
		c.limit = min(c.limit, rule.prefix)
	}
	return c
}

func (s *settings) keeps(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (s.bodies[media] || s.bodies[JSONType] && redact.IsJSON(media))
}

// Write implements io.Writer; it never errs.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.size
	c.size += int64(len(p))
	c.hash.Write(p)
	switch {
	case c.policy == workload.BodyHash:
	case c.policy == workload.BodyPrefix:
		c.data = append(c.data, p[:min(int64(len(p)), max(0, c.limit-before))]...)
	case c.size <= c.limit:
		c.data = append(c.data, p...)
	default:
		c.data = nil
	}
	return len(p), nil
}

// fill puts into the copy what the policy keeps; a body that cannot be redacted leaves no more than its hash.
func (c *capture) fill(m *foreshadowv1.CapturedRequest, r *redact.Redactor, contentType string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.BodySizeBytes = c.size
	cut := c.size > c.limit
	if c.policy != workload.BodyHash && (!cut || c.policy == workload.BodyPrefix) {
		if body, ok := r.Body(contentType, c.data, cut); ok {
			m.Body = body
			m.BodyDisposition = foreshadowv1.BodyDisposition_BODY_DISPOSITION_FULL
			if cut {
				m.BodyDisposition = foreshadowv1.BodyDisposition_BODY_DISPOSITION_PREFIX
			}
			return
		}
	}
	m.BodyDisposition = foreshadowv1.BodyDisposition_BODY_DISPOSITION_HASH
	m.BodySha256 = c.hash.Sum(nil)
	m.BodyOversize = cut && c.policy == workload.BodyFull
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
