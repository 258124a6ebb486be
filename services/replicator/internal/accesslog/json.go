package accesslog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// aliases are the keys under which nginx's variables are looked for: their own names, then Caddy's.
var aliases = [][2]string{
	{"time_iso8601", "time_iso8601"}, {"time_local", "time_local"}, {"msec", "msec"}, {"msec", "ts"}, {"msec", "time"}, {"msec", "timestamp"},
	{"request", "request"}, {"request_method", "request_method"}, {"request_method", "request.method"}, {"request_method", "method"},
	{"request_uri", "request_uri"}, {"request_uri", "request.uri"}, {"uri", "uri"}, {"request_uri", "path"}, {"args", "args"},
	{"server_protocol", "server_protocol"}, {"server_protocol", "request.proto"}, {"server_protocol", "protocol"},
	{"status", "status"}, {"body_bytes_sent", "body_bytes_sent"}, {"body_bytes_sent", "size"}, {"bytes_sent", "bytes_sent"},
	{"request_length", "request_length"}, {"request_time", "request_time"}, {"request_time", "duration"},
	{"remote_addr", "remote_addr"}, {"remote_addr", "request.client_ip"}, {"remote_addr", "request.remote_ip"},
	{"host", "host"}, {"host", "request.host"},
	{"http_user_agent", "http_user_agent"}, {"http_user_agent", "user_agent"}, {"http_referer", "http_referer"},
	{"http_x_forwarded_for", "http_x_forwarded_for"},
}

// objectParser reads one JSON object a line.
type objectParser struct{ keys []objectKey }

type objectKey struct {
	path []string
	set  setter
	part string
}

func newObjectParser(fields map[string]string) (*objectParser, error) {
	p := &objectParser{}
	for _, variable := range slices.Sorted(maps.Keys(fields)) {
		set, part := nginxField(variable)
		if key := fields[variable]; key == "" {
			return nil, fmt.Errorf("fields.%s: is empty", variable)
		}
		p.keys = append(p.keys, objectKey{path: strings.Split(fields[variable], "."), set: set, part: part})
	}
	for _, a := range aliases {
		if _, given := fields[a[0]]; given {
			continue
		}
		set, part := nginxField(a[0])
		p.keys = append(p.keys, objectKey{path: strings.Split(a[1], "."), set: set, part: part})
	}
	return p, nil
}

func (p *objectParser) parse(line []byte) (*entry, error) {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || decoder.More() {
		return nil, refusal(ReasonFormat)
	}
	e := newEntry()
	found := map[string]bool{}
	var refused error
	for _, k := range p.keys {
		value, ok := lookUp(object, k.path)
		if !ok {
			continue
		}
		// The first key that has the time has it, or a less exact one would replace it.
		if k.part != "" && found[k.part] {
			continue
		}
		found[k.part] = true
		if err := k.set(e, value); err != nil && refused == nil {
			refused = err
		}
	}
	// Caddy logs all headers, as lists.
	if headers, ok := descend(object, []string{"request", "headers"}).(map[string]any); ok {
		for name := range headers {
			if value, ok := lookUp(headers, []string{name}); ok && e.header.Get(name) == "" {
				e.setHeader(name, value)
			}
		}
	}
	switch {
	case refused != nil:
		return nil, refused
	case !found[partTime]:
		return nil, refusal(ReasonTime)
	case complete(found) != nil:
		return nil, refusal(ReasonFormat)
	}
	return e, nil
}

func descend(object map[string]any, path []string) any {
	value, ok := object[path[0]]
	if !ok || len(path) == 1 {
		return value
	}
	if inner, ok := value.(map[string]any); ok {
		return descend(inner, path[1:])
	}
	return nil
}

func lookUp(object map[string]any, path []string) (string, bool) {
	// A key may have dots itself.
	value := object[strings.Join(path, ".")]
	if value == nil {
		value = descend(object, path)
	}
	if list, ok := value.([]any); ok && len(list) > 0 {
		value = list[0]
	}
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return "", false
}
