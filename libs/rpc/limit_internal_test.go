package rpc

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
)

func TestAccountsAreKeptApart(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	a := newAccounts(Limits{CallsPerSecond: 10, Burst: 2, InFlight: 3})
	open := func(label string) func() {
		t.Helper()
		done, err := a.open(label, now)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	refused := func(label, reason string) time.Duration {
		t.Helper()
		var quota *QuotaError
		if _, err := a.open(label, now); !errors.As(err, &quota) || quota.Reason != reason || !strings.HasSuffix(quota.Subject, ":"+label) {
			t.Fatalf("%s: %v, want %s", label, err, reason)
		}
		return quota.RetryAfter
	}
	first := open("ann")
	open("ann")
	if wait := refused("ann", "RATE_LIMITED"); wait != 100*time.Millisecond {
		t.Errorf("told to wait %v, want 100ms", wait)
	}
	open("bob") // is not hurt
	now = now.Add(100 * time.Millisecond)
	open("ann")
	now = now.Add(time.Hour)
	refused("ann", "TOO_MANY_CALLS")
	first()
	open("ann")
}

func TestTheNumberOfAccountsIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	a := newAccounts(Limits{CallsPerSecond: 1, Burst: 1, InFlight: 1 << 30})
	for i := range maxTracked {
		if _, err := a.open(fmt.Sprint("held", i), now); err != nil {
			t.Fatal(err)
		}
	}
	// All are in use: the others share one account, and those who have one keep it.
	if _, err := a.open("x", now); err != nil {
		t.Fatal(err)
	}
	if _, err := a.open("y", now); err == nil {
		t.Error("strangers do not share an account")
	}
	if len(a.by) != maxTracked+1 {
		t.Errorf("%d accounts", len(a.by))
	}
	// What is idle makes room.
	b := newAccounts(Limits{CallsPerSecond: 1, Burst: 1, InFlight: 1 << 30})
	for i := range maxTracked {
		done, err := b.open(fmt.Sprint("brief", i), now)
		if err != nil {
			t.Fatal(err)
		}
		done()
	}
	now = now.Add(time.Minute)
	for _, label := range []string{"x", "y"} {
		if _, err := b.open(label, now); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
	if len(b.by) != 2 {
		t.Errorf("%d accounts are left", len(b.by))
	}
}

func TestAddressesAreGroupedByWhatAHostCanChoose(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7", "[2001:db8::1]:1": "2001:db8::/64", "[2001:db8::ffff:1]:2": "2001:db8::/64",
		"[2001:db8:0:1::1]:1": "2001:db8:0:1::/64", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[fe80::1%eth0]:1": "fe80::/64",
	} {
		if got := hostOf(addr(address)); got != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
	if got := hostOf(&net.UnixAddr{Name: "@"}); got != "unknown" {
		t.Errorf("a socket counts as %s", got)
	}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// FuzzBearer: a header is one token without space around it, or refused.
func FuzzBearer(f *testing.F) {
	for _, seed := range []string{"", "Bearer", "Bearer x", "bearer  x ", "Basic x", "Bearer x y", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		token, given, err := bearer(metadata.MD{authorization: []string{value}})
		if err != nil && (given || token != "" || !errors.Is(err, ErrUnauthenticated)) {
			t.Errorf("%q: %q, %v, %v", value, token, given, err)
		}
		if err == nil && (!given || token == "" || token != strings.TrimSpace(token) || !strings.EqualFold(value[:6], "bearer")) {
			t.Errorf("%q: %q, %v", value, token, given)
		}
	})
}
