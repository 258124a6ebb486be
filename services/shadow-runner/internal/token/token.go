// Package token makes recorded sessions work in the shadow: what the shadow gives out (cookies, CSRF tokens, identities of
// what it made) is learnt from its answers, per session, and put where the session's later requests carry what production had
// given them. The copies never carry production's own: those stay with the tap.
package token

import (
	"container/list"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	// MaxBody of an answer is looked into.
	MaxBody = 64 << 10
	// maxCookies and maxValue bound what one session keeps.
	maxCookies, maxValue = 50, 4 << 10
)

// common are the names that frameworks give to CSRF tokens: Rails, Django, Laravel, ASP.NET, Spring, Express.
var common = []string{"csrf-token", "csrf_token", "csrfToken", "authenticity_token", "csrfmiddlewaretoken", "_token", "__RequestVerificationToken", "_csrf"}

// csrfName is the value that common tokens are kept under; csrfHeaders carry it.
const csrfName = "csrf"

var csrfHeaders = []string{"X-CSRF-Token", "X-CSRFToken", "X-XSRF-TOKEN"}

// Jars keeps a jar per session. It is safe for concurrent use.
type Jars struct {
	rules []workload.TokenRule
	max   int

	mu   sync.Mutex
	jars map[string]*list.Element
	use  *list.List // most recently used first
}

// NewJars keeps the max sessions used last.
func NewJars(rules []workload.TokenRule, max int) *Jars {
	return &Jars{rules: rules, max: max, jars: map[string]*list.Element{}, use: list.New()}
}

// Of returns the jar of a session, a new one when it has none.
func (j *Jars) Of(session string) *Jar {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.jars[session]; e != nil {
		j.use.MoveToFront(e)
		return e.Value.(*Jar)
	}
	jar := &Jar{rules: j.rules, session: session, cookies: map[string]string{}, values: map[string]string{}}
	j.jars[session] = j.use.PushFront(jar)
	for j.use.Len() > j.max {
		last := j.use.Back()
		delete(j.jars, last.Value.(*Jar).session)
		j.use.Remove(last)
	}
	return jar
}

// Jar is what the shadow gave to one session. It is safe for concurrent use.
type Jar struct {
	rules   []workload.TokenRule
	session string

	mu      sync.Mutex
	cookies map[string]string
	values  map[string]string
}

// Learn looks through an answer; body is its beginning.
func (j *Jar) Learn(resp *http.Response, body []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range resp.Cookies() {
		switch {
		case c.MaxAge < 0 || c.Value == "":
			delete(j.cookies, c.Name)
		case len(c.Value) <= maxValue && (len(j.cookies) < maxCookies || j.cookies[c.Name] != ""):
			j.cookies[c.Name] = c.Value
		}
		if strings.EqualFold(c.Name, "XSRF-TOKEN") || strings.EqualFold(c.Name, "csrftoken") {
			j.keep(csrfName, c.Value)
		}
	}
	for _, name := range csrfHeaders {
		j.keep(csrfName, resp.Header.Get(name))
	}
	kind := resp.Header.Get("Content-Type")
	var document any
	if strings.Contains(kind, "json") {
		_ = json.Unmarshal(body, &document) // what is no JSON, or was cut off, teaches nothing
	}
	page := ""
	if strings.Contains(kind, "html") {
		page = string(body)
	}
	for _, name := range common {
		j.keep(csrfName, at(document, name))
		j.keep(csrfName, inPage(page, name))
	}
	for _, r := range j.rules {
		j.keep(r.Name, at(document, r.FromJSON))
		j.keep(r.Name, inPage(page, r.FromHTML))
		if r.FromHeader != "" {
			j.keep(r.Name, resp.Header.Get(r.FromHeader))
		}
	}
}

func (j *Jar) keep(name, value string) {
	if value != "" && len(value) <= maxValue {
		j.values[name] = value
	}
}

// at is the scalar at a dotted path of a document, for example order.id or items.0.id; empty when there is none.
func at(document any, path string) string {
	if document == nil || path == "" {
		return ""
	}
	for part := range strings.SplitSeq(path, ".") {
		switch v := document.(type) {
		case map[string]any:
			document = v[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return ""
			}
			document = v[i]
		default:
			return ""
		}
	}
	switch v := document.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

var (
	tag       = regexp.MustCompile(`(?i)<(?:input|meta)\b[^>]*>`)
	attribute = regexp.MustCompile(`(?i)\b(name|value|content)\s*=\s*["']([^"']*)["']`)
)

// inPage is the value of the input, or the content of the meta element, of that name.
func inPage(page, name string) string {
	if name == "" || !strings.Contains(page, name) {
		return ""
	}
	for _, t := range tag.FindAllString(page, -1) {
		is, value := false, ""
		for _, a := range attribute.FindAllStringSubmatch(t, -1) {
			switch {
			case strings.EqualFold(a[1], "name"):
				is = a[2] == name
			default:
				value = a[2]
			}
		}
		if is && value != "" {
			return value
		}
	}
	return ""
}
