package token

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Apply puts what the session was given into a request that is about to be sent; body is the request's.
func (j *Jar) Apply(req *http.Request, body []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	names := make([]string, 0, len(j.cookies))
	for name := range j.cookies {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		req.AddCookie(&http.Cookie{Name: name, Value: j.cookies[name]})
	}
	fields := map[string]string{}
	if token := j.values[csrfName]; token != "" {
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			for _, name := range csrfHeaders {
				req.Header.Set(name, token)
			}
		}
		for _, name := range common {
			fields[name] = token
		}
	}
	query := req.URL.Query()
	changed := false
	for _, r := range j.rules {
		value := j.values[r.Name]
		if value == "" {
			continue
		}
		if r.ToHeader != "" {
			req.Header.Set(r.ToHeader, value)
		}
		if r.ToQuery != "" && query.Has(r.ToQuery) {
			query.Set(r.ToQuery, value)
			changed = true
		}
		if r.ToField != "" {
			fields[r.ToField] = value
		}
		if r.ToPath != "" {
			if path, is := inPath(req.URL.Path, r.ToPath, value); is {
				req.URL.Path, req.URL.RawPath = path, ""
			}
		}
	}
	if changed {
		req.URL.RawQuery = query.Encode()
	}
	if next, is := inBody(req.Header.Get("Content-Type"), body, fields); is {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(next)), int64(len(next))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(next)), nil }
	}
}

// inPath replaces the first {…} of the template in a path that fits it.
func inPath(path, template, value string) (string, bool) {
	parts, want := strings.Split(path, "/"), strings.Split(template, "/")
	if len(parts) != len(want) {
		return "", false
	}
	at := -1
	for i, w := range want {
		switch {
		case strings.HasPrefix(w, "{") && strings.HasSuffix(w, "}"):
			if at < 0 {
				at = i
			}
		case w != parts[i]:
			return "", false
		}
	}
	if at < 0 {
		return "", false
	}
	parts[at] = value
	return strings.Join(parts, "/"), true
}

// inBody replaces fields that a form or a JSON object has; it adds none.
func inBody(kind string, body []byte, fields map[string]string) ([]byte, bool) {
	if len(body) == 0 || len(fields) == 0 {
		return nil, false
	}
	switch {
	case strings.HasPrefix(kind, "application/x-www-form-urlencoded"):
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, false
		}
		changed := false
		for name, value := range fields {
			if form.Has(name) {
				form.Set(name, value)
				changed = true
			}
		}
		return []byte(form.Encode()), changed
	case strings.Contains(kind, "json"):
		var object map[string]json.RawMessage
		if json.Unmarshal(body, &object) != nil {
			return nil, false
		}
		changed := false
		for name, value := range fields {
			old, has := object[name]
			if !has {
				continue
			}
			object[name], _ = json.Marshal(value) // a string always can be
			if len(old) > 0 && old[0] != '"' && json.Valid([]byte(value)) {
				object[name] = json.RawMessage(value) // a number stays a number
			}
			changed = true
		}
		if !changed {
			return nil, false
		}
		next, err := json.Marshal(object)
		return next, err == nil
	}
	return nil, false
}
