package local

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/agent"
)

// Client talks to an Agent, which can run trials besides what every agent can.
type Client struct{ *agent.Client }

// NewClient returns a client of the agent at a unix socket; it does no I/O.
func NewClient(socket string) *Client { return &Client{agent.NewClient(socket)} }

// Try runs a trial of a group beside it, or renews the lease of one that runs, and returns its state: its instances may not
// be ready yet. The error is a platform.ErrUnsupported when this platform cannot run it.
func (c *Client) Try(ctx context.Context, group string, t platform.Trial) (platform.State, error) {
	var s platform.State
	if err := c.Call(ctx, http.MethodPost, group, "/trials", t, &s); err != nil {
		return platform.State{}, fmt.Errorf("try %q of group %q: %w", t.Name, group, err)
	}
	return s, nil
}

// EndTrial ends a trial; one that has ended is no error.
func (c *Client) EndTrial(ctx context.Context, group, trial string) error {
	var s platform.State
	if err := c.Call(ctx, http.MethodDelete, group, "/trials/"+url.PathEscape(trial), nil, &s); err != nil {
		return fmt.Errorf("end trial %q of group %q: %w", trial, group, err)
	}
	return nil
}
