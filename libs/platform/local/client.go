package local

import "github.com/foreshadow/foreshadow/libs/platform/agent"

// Client talks to an Agent.
type Client = agent.Client

// NewClient returns a client of the agent at a unix socket; it does no I/O.
func NewClient(socket string) *Client { return agent.NewClient(socket) }
