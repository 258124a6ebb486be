// Package egress decides where the runner may connect to. The decision falls when a connection is dialled, on the address
// after name resolution: whatever a URL, a redirect or a DNS answer says, nothing but the listed addresses is reached, and
// an address of production never, not even when it is listed.
package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
)

// ErrRefused: the address is not one the runner may reach.
var ErrRefused = errors.New("egress refused")

// Guard holds the addresses of one workload. The zero value refuses everything. It is safe for concurrent use.
type Guard struct {
	mu      sync.RWMutex
	allowed map[netip.AddrPort]struct{}
	denied  map[netip.AddrPort]struct{}
}

// Allow replaces the addresses that may be reached.
func (g *Guard) Allow(addresses []netip.AddrPort) {
	set := setOf(addresses)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed = set
}

// Deny replaces the addresses that are never reached.
func (g *Guard) Deny(addresses []netip.AddrPort) {
	set := setOf(addresses)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.denied = set
}

// Control is a net.Dialer's hook: it sees the resolved address right before the connection is made.
func (g *Guard) Control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w: not an IP address", address, ErrRefused)
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	key := Canonical(ap)
	if _, is := g.denied[key]; is {
		return fmt.Errorf("dial %s: %w: it is production's", address, ErrRefused)
	}
	if _, is := g.allowed[key]; !is {
		return fmt.Errorf("dial %s: %w: it is neither a shadow instance nor in replay.allow_hosts", address, ErrRefused)
	}
	return nil
}

func setOf(addresses []netip.AddrPort) map[netip.AddrPort]struct{} {
	set := make(map[netip.AddrPort]struct{}, len(addresses))
	for _, a := range addresses {
		set[Canonical(a)] = struct{}{}
	}
	return set
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Canonical makes addresses equal that reach the same listener: an IPv4 address written as IPv6, and all names this
// machine has for itself, for one listener on the wildcard address answers to every one of them.
func Canonical(ap netip.AddrPort) netip.AddrPort {
	addr := ap.Addr().Unmap().WithZone("")
	if addr.IsLoopback() || addr.IsUnspecified() {
		addr = loopback
	}
	return netip.AddrPortFrom(addr, ap.Port())
}

// Resolve returns the addresses behind host:port; lookup is net.Resolver's LookupNetIP bound to a context.
func Resolve(hostport string, lookup func(host string) ([]netip.Addr, error)) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", hostport, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: want a number as port: %w", hostport, err)
	}
	addrs := []netip.Addr{}
	if ip, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, ip)
	} else if addrs, err = lookup(host); err != nil {
		return nil, fmt.Errorf("resolve %s: %w", hostport, err)
	}
	out := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		out[i] = netip.AddrPortFrom(a, uint16(port))
	}
	return out, nil
}
