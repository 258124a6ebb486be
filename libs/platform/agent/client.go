package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	callTimeout = 5 * time.Second
	// watchTimeout is longer than the agent holds a watch, so that only a dead agent runs into it.
	watchTimeout = maxWatch + callTimeout
	retryFirst   = 50 * time.Millisecond
	retryMax     = time.Second
	// maxAnswer bounds what is read from the agent: MaxInstances take well under 1 MiB.
	maxAnswer = 4 << 20
)

// Client talks to an agent. It is safe for concurrent use and connects when first used. Its errors name the socket.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client of the agent at a unix socket; it does no I/O.
func NewClient(socket string) *Client {
	var dialer net.Dialer
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		IdleConnTimeout: 30 * time.Second,
	}}}
}

// Socket is the path of the agent's socket.
func (c *Client) Socket() string { return c.socket }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// State returns what runs now. The error is a platform.ErrNotFound when there is no such group.
func (c *Client) State(ctx context.Context, group string) (platform.State, error) {
	var s platform.State
	err := c.call(ctx, request{method: http.MethodGet, path: groupPath(group), timeout: callTimeout}, &s)
	if err != nil {
		return platform.State{}, fmt.Errorf("read group %q: %w", group, err)
	}
	return s, nil
}

// Scale asks for another size and returns the state after the change was accepted, which is before it is carried out.
// The error is a platform.ErrConflict when the change was fenced off and a platform.ErrNotFound when there is no such
// group; after any other error the change may or may not have been accepted.
func (c *Client) Scale(ctx context.Context, group string, change platform.Change) (platform.State, error) {
	var s platform.State
	err := c.call(ctx, request{method: http.MethodPut, path: groupPath(group), body: change, timeout: callTimeout}, &s)
	if err != nil {
		return platform.State{}, fmt.Errorf("scale group %q to %d: %w", group, change.Instances, err)
	}
	return s, nil
}

// Usage returns a reading of every running instance of a group. The platform says what is exact about the numbers.
func (c *Client) Usage(ctx context.Context, group string) ([]platform.Usage, error) {
	var u []platform.Usage
	err := c.call(ctx, request{method: http.MethodGet, path: groupPath(group) + "/usage", timeout: callTimeout}, &u)
	if err != nil {
		return nil, fmt.Errorf("read usage of group %q: %w", group, err)
	}
	return u, nil
}

// Watch calls fn with the state of a group at once and after each change, until ctx ends; changes in quick succession may
// come as one. When the agent cannot be asked, fn gets the error, once until it can be asked again, and what was known
// before still holds: the instances may well serve on. fn is called by one goroutine, the caller's own.
func (c *Client) Watch(ctx context.Context, group string, fn func(platform.State, error)) {
	path, retry, away := groupPath(group), retryFirst, true
	var last uint64
	for ctx.Err() == nil {
		var s platform.State
		err := c.call(ctx, request{method: http.MethodGet, path: path, timeout: watchTimeout}, &s)
		if err == nil {
			if away || s.Revision != last {
				fn(s, nil)
			}
			path = groupPath(group) + "?after=" + strconv.FormatUint(s.Revision, 10)
			retry, away, last = retryFirst, false, s.Revision
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if retry == retryFirst {
			fn(platform.State{}, fmt.Errorf("watch group %q: %w", group, err))
		}
		// Asked without a revision, so that the first answer of the agent comes at once and tells that it is back.
		path, away = groupPath(group), true
		if sleep(ctx, retry) != nil {
			return
		}
		retry = min(2*retry, retryMax)
	}
}

func groupPath(group string) string { return "/v1/groups/" + url.PathEscape(group) }

// request is one call of an agent.
type request struct {
	method, path string
	body         any
	timeout      time.Duration
}

// Try runs a trial of a group beside it, or renews the lease of one that runs, and returns its state: its instances may not
// be ready yet. The error is a platform.ErrUnsupported when this platform cannot run it.
func (c *Client) Try(ctx context.Context, group string, t platform.Trial) (platform.State, error) {
	var s platform.State
	err := c.call(ctx, request{method: http.MethodPost, path: groupPath(group) + "/trials", body: t, timeout: callTimeout}, &s)
	if err != nil {
		return platform.State{}, fmt.Errorf("try %q of group %q: %w", t.Name, group, err)
	}
	return s, nil
}

// EndTrial ends a trial; one that has ended is no error.
func (c *Client) EndTrial(ctx context.Context, group, trial string) error {
	var s platform.State
	path := groupPath(group) + "/trials/" + url.PathEscape(trial)
	if err := c.call(ctx, request{method: http.MethodDelete, path: path, timeout: callTimeout}, &s); err != nil {
		return fmt.Errorf("end trial %q of group %q: %w", trial, group, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, r request, into any) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "http://agent"+r.path, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the URL in it names a host that does not exist
		}
		return fmt.Errorf("ask the platform's agent at %s: %w", c.socket, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of the agent at %s: %w", c.socket, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("agent at %s: %w", c.socket, refusal(resp.StatusCode, data))
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("decode the answer of the agent at %s: %w", c.socket, err)
	}
	return nil
}

// refusal is the body of every answer but 200.
type refusalBody struct {
	Error string `json:"error"`
}

func refusal(status int, data []byte) error {
	var b refusalBody
	if json.Unmarshal(data, &b) != nil || b.Error == "" {
		b.Error = http.StatusText(status)
	}
	switch status {
	case http.StatusConflict:
		return &sentinelError{text: b.Error, is: platform.ErrConflict}
	case http.StatusNotFound:
		return &sentinelError{text: b.Error, is: platform.ErrNotFound}
	case http.StatusUnprocessableEntity:
		return &sentinelError{text: b.Error, is: platform.ErrUnsupported}
	default:
		return errors.New(b.Error)
	}
}

// sentinelError is an error of the agent's, in its own words, that is known by kind on this side of the socket.
type sentinelError struct {
	text string
	is   error
}

func (e *sentinelError) Error() string { return e.text }
func (e *sentinelError) Unwrap() error { return e.is }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
