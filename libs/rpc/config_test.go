package rpc_test

import (
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/rpc"
)

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	if err := rpc.Default().Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*rpc.Config)
		says   []string
	}{
		"half a pair": {func(c *rpc.Config) { c.TLS.Certificate = "a.pem" }, []string{"tls.key"}},
		"who signs?":  {func(c *rpc.Config) { c.TLS = rpc.TLS{Certificate: "a", Key: "b", ClientAuth: "require"} }, []string{"tls.ca"}},
		"client auth": {func(c *rpc.Config) { c.TLS.ClientAuth = "maybe" }, []string{"tls.client_auth", "maybe"}},
		"two tokens":  {func(c *rpc.Config) { c.Token, c.TokenFile = "0123456789abcdef", "f" }, []string{"token_file"}},
		"short token": {func(c *rpc.Config) { c.Token = "hunter2" }, []string{"token: has 7"}},
		"no name":     {func(c *rpc.Config) { c.Callers = []rpc.Caller{{TokenFile: "f"}} }, []string{"callers[0].name"}},
		"no token":    {func(c *rpc.Config) { c.Callers = []rpc.Caller{{Name: "a"}} }, []string{"callers[0].token"}},
		"token twice": {func(c *rpc.Config) { c.Callers = []rpc.Caller{{Name: "a", TokenFile: "f", TokenEnv: "E"}} }, []string{"callers[0].token"}},
		"name twice": {func(c *rpc.Config) {
			c.Callers = []rpc.Caller{{Name: "a", TokenFile: "f"}, {Name: "a", TokenFile: "g"}}
		}, []string{"callers[1].name"}},
		"nobody to allow": {func(c *rpc.Config) { c.Allow = []rpc.Rule{{Service: "a.B", Identities: []string{"c"}}} }, []string{"allow: nobody"}},
		"rules": {func(c *rpc.Config) {
			c.Callers = []rpc.Caller{{Name: "a", TokenFile: "f"}}
			c.Allow = []rpc.Rule{{Service: "/a.B/C"}, {Service: "a.B"}, {Service: "a.B", Identities: []string{""}}}
		}, []string{"allow[0].service", "allow[2].service", "allow[2].identities"}},
		"limits": {func(c *rpc.Config) { c.Limits = rpc.Limits{} }, []string{
			"limits.request_bytes", "limits.calls_per_second", "limits.burst", "limits.in_flight", "limits.streams_per_connection",
			"limits.connections", "limits.connections_per_address", "limits.deadline", "limits.stall", "limits.idle",
		}},
	} {
		cfg := rpc.Default()
		c.change(&cfg)
		err := cfg.Validate()
		for _, say := range c.says {
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%s: %v does not say %q", name, err, say)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the token", name)
		}
	}
}

func TestPlainTextStaysOnLoopback(t *testing.T) {
	t.Parallel()
	secure, insecure := rpc.Default(), rpc.Default()
	secure.TLS = rpc.TLS{Certificate: "a", Key: "b"}
	insecure.Insecure = true
	for address, local := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		"0.0.0.0:1": false, ":1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.example:1": false, "127.0.0.1.example:1": false,
	} {
		if err := rpc.Default().CheckListen(address); (err == nil) != local {
			t.Errorf("%s in plain text: %v", address, err)
		}
		if secure.CheckListen(address) != nil || insecure.CheckListen(address) != nil {
			t.Errorf("%s is refused with TLS, or although the configuration says insecure", address)
		}
	}
	if ln, err := rpc.Listen("0.0.0.0:0"); err == nil {
		_ = ln.Close()
		t.Error("listened in plain text for everyone")
	} else if !strings.Contains(err.Error(), "rpc.insecure") {
		t.Errorf("%v does not say what to do", err)
	}
}
