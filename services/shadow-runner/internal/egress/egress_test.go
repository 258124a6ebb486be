package egress_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/egress"
)

func addrs(list ...string) []netip.AddrPort {
	out := make([]netip.AddrPort, len(list))
	for i, a := range list {
		out[i] = netip.MustParseAddrPort(a)
	}
	return out
}

func TestGuard(t *testing.T) {
	t.Parallel()
	g := &egress.Guard{}
	if err := g.Control("tcp", "127.0.0.1:80", nil); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("a guard that knows nothing let through: %v", err)
	}
	g.Allow(addrs("127.0.0.1:4001", "10.0.0.7:80", "10.0.0.9:80", "[fd00::1]:80"))
	g.Deny(addrs("127.0.0.1:4000", "10.0.0.9:80"))
	tests := map[string]string{
		"127.0.0.1:4001":       "",
		"[::1]:4001":           "", // the same listener by another of its names
		"[::ffff:10.0.0.7]:80": "",
		"[fd00::1]:80":         "",
		"10.0.0.7:81":          "neither",
		"10.0.0.8:80":          "neither",
		"127.0.0.1:4000":       "production",
		"[::1]:4000":           "production",
		"0.0.0.0:4000":         "production",
		"127.8.8.8:4000":       "production",
		"10.0.0.9:80":          "production", // allowed and denied is denied
		"shop.internal:80":     "not an IP address",
	}
	for address, want := range tests {
		err := g.Control("tcp", address, nil)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", address, err)
		case want != "" && (!errors.Is(err, egress.ErrRefused) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address)):
			t.Errorf("%s: %v, want it refused and %q", address, err, want)
		}
	}
	g.Allow(nil)
	if g.Control("tcp", "10.0.0.7:80", nil) == nil {
		t.Error("an instance that is gone is still reached")
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	lookup := func(host string) ([]netip.Addr, error) {
		if host != "shop" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, nil
	}
	tests := map[string]struct {
		want []netip.AddrPort
		err  string
	}{
		"10.0.0.1:80": {addrs("10.0.0.1:80"), ""},
		"[::1]:80":    {addrs("[::1]:80"), ""},
		"shop:80":     {addrs("10.0.0.1:80", "[fd00::1]:80"), ""},
		"nobody:80":   {nil, "nobody:80: no such host"},
		"shop":        {nil, "resolve shop"},
		"shop:http":   {nil, "want a number as port"},
		"shop:70000":  {nil, "want a number as port"},
	}
	for in, tc := range tests {
		got, err := egress.Resolve(in, lookup)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: error %v, want %q", in, err, tc.err)
		}
		if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}
