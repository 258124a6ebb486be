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

// bodyBytes bounds what is kept of all request bodies on their way: clients that send theirs slowly could be many.
const bodyBytes = 64 << 20

// capture keeps a request body while it streams by, up to a bound; of a larger one it keeps size and hash.
type capture struct {
	policy workload.BodyPolicy
	limit  int64
	room   *room

	mu   sync.Mutex
	data []byte
	lost bool // there was no room for it
	size int64
	hash hash.Hash
}

// newCapture returns nil when the policy keeps nothing of the body: safe methods carry none that matters, and only listed
// types travel, of which no more than size and hash when they are compressed.
func (s *settings) newCapture(r *http.Request, rule *rule, room *room) *capture {
	if r.ContentLength == 0 || isSafe(r.Method) || rule.body == workload.BodyNone {
		return nil
	}
	c := &capture{policy: rule.body, limit: s.workload.Tap.MaxBodyBytes, room: room, hash: s.sampler.Digest()}
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
	case c.policy == workload.BodyHash, c.lost:
	case c.policy == workload.BodyPrefix:
		c.keep(p[:min(int64(len(p)), max(0, c.limit-before))])
	case c.size <= c.limit:
		c.keep(p)
	default:
		c.forget()
	}
	return len(p), nil
}

// keep is called with mu held, and so is forget.
func (c *capture) keep(p []byte) {
	before := cap(c.data)
	c.data = append(c.data, p...)
	if grown := cap(c.data) - before; grown > 0 && !c.room.take(int64(grown)) {
		c.room.give(int64(before))
		c.data, c.lost = nil, true
	}
}

func (c *capture) forget() {
	c.room.give(int64(cap(c.data)))
	c.data = nil
}

// release forgets what was kept, and whatever is still to come; a capture that keeps nothing may be nil.
func (c *capture) release() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	c.forget()
}

// isLost reports whether there was no room for the body.
func (c *capture) isLost() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
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
