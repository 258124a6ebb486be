package accesslog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// setter puts the value of one field into an entry.
type setter func(e *entry, value string) error

// ignore is the setter of a field that means nothing here.
func ignore(*entry, string) error { return nil }

// text makes a setter of an assignment that cannot fail; a dash is nothing.
func text(assign func(e *entry, value string)) setter {
	return func(e *entry, value string) error {
		if value != "-" {
			assign(e, value)
		}
		return nil
	}
}

// number makes a setter of a count; what is none counts as nothing, for bytes are no reason to lose a request.
func number(assign func(e *entry, n int64)) setter {
	return func(e *entry, value string) error {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
			assign(e, n)
		}
		return nil
	}
}

func latency(unit time.Duration) setter {
	return func(e *entry, value string) error {
		if d, err := duration(value, unit); err == nil {
			e.latency = d
		}
		return nil
	}
}

func header(name string) setter {
	return func(e *entry, value string) error { e.setHeader(name, value); return nil }
}

func at(atEnd bool, set func(e *entry, value string) error) setter {
	return func(e *entry, value string) error { e.atEnd = atEnd; return set(e, value) }
}

// nginxField is the setter of a variable, and what of a request it tells: time, request or nothing in particular.
func nginxField(name string) (setter, string) {
	switch name {
	case "time_local", "time_iso8601", "msec":
		return at(true, (*entry).setTime), partTime
	case "request":
		return (*entry).setRequest, partRequest
	case "request_method":
		return text(func(e *entry, v string) { e.method = v }), partMethod
	case "request_uri":
		return text(func(e *entry, v string) { e.target = v }), partTarget
	case "uri", "document_uri":
		return text(func(e *entry, v string) { e.path = v }), partTarget
	case "args", "query_string":
		return text(func(e *entry, v string) { e.query = v }), ""
	case "server_protocol":
		return text(func(e *entry, v string) { e.protocol = v }), ""
	case "status":
		return (*entry).setStatus, ""
	case "body_bytes_sent":
		return number(func(e *entry, n int64) { e.body = n }), ""
	case "bytes_sent":
		return number(func(e *entry, n int64) { e.sent = n }), ""
	case "request_length":
		return number(func(e *entry, n int64) { e.received = n }), ""
	case "request_time":
		return latency(time.Second), ""
	case "remote_addr":
		return text(func(e *entry, v string) { e.address = v }), ""
	case "host":
		return text(func(e *entry, v string) { e.host = v }), ""
	}
	if h, ok := strings.CutPrefix(name, "http_"); ok {
		return header(strings.ReplaceAll(h, "_", "-")), ""
	}
	if cookie, ok := strings.CutPrefix(name, "cookie_"); ok {
		return text(func(e *entry, v string) { e.setHeader("Cookie", cookie+"="+v) }), ""
	}
	return ignore, ""
}

// apacheField is the setter of a directive, of which argument is the part in braces.
func apacheField(letter byte, argument string) (setter, string, error) {
	switch letter {
	case 'h', 'a':
		return text(func(e *entry, v string) { e.address = v }), "", nil
	case 't':
		return apacheTime(argument)
	case 'r':
		return (*entry).setRequest, partRequest, nil
	case 'm':
		return text(func(e *entry, v string) { e.method = v }), partMethod, nil
	case 'U':
		return text(func(e *entry, v string) { e.path = v }), partTarget, nil
	case 'q':
		return text(func(e *entry, v string) { e.query = strings.TrimPrefix(v, "?") }), "", nil
	case 'H':
		return text(func(e *entry, v string) { e.protocol = v }), "", nil
	case 's':
		return (*entry).setStatus, "", nil
	case 'b', 'B':
		return number(func(e *entry, n int64) { e.body = n }), "", nil
	case 'O':
		return number(func(e *entry, n int64) { e.sent = n }), "", nil
	case 'I':
		return number(func(e *entry, n int64) { e.received = n }), "", nil
	case 'D':
		return latency(time.Microsecond), "", nil
	case 'T':
		switch argument {
		case "ms":
			return latency(time.Millisecond), "", nil
		case "us":
			return latency(time.Microsecond), "", nil
		}
		return latency(time.Second), "", nil
	case 'v', 'V':
		return text(func(e *entry, v string) { e.host = v }), "", nil
	case 'i':
		return header(argument), "", nil
	case 'C':
		return text(func(e *entry, v string) { e.setHeader("Cookie", argument+"="+v) }), "", nil
	}
	return ignore, "", nil
}

func apacheTime(argument string) (setter, string, error) {
	switch argument {
	case "", "begin":
		return at(false, (*entry).setTime), partTime, nil
	case "sec":
		return at(false, (*entry).setTime), partTime, nil
	case "msec":
		return at(false, func(e *entry, v string) error { return e.setUnix(v, time.Millisecond) }), partTime, nil
	case "usec":
		return at(false, func(e *entry, v string) error { return e.setUnix(v, time.Microsecond) }), partTime, nil
	}
	return nil, "", fmt.Errorf("format: the time format %q is not known: use %%t or %%{sec}t, %%{msec}t, %%{usec}t", argument)
}
