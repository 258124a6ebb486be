package fleet

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	// lookupTimeout bounds one name resolution, and lookupsAtOnce how many are under way.
	lookupTimeout = time.Second
	lookupsAtOnce = 8
	// retryAfter is how long a name that could not be resolved is left alone.
	retryAfter = 5 * time.Second
)

// errUnresolved: the first answer for a name is being waited for.
var errUnresolved = errors.New("its name is being looked up")

// lookup is net.Resolver's LookupNetIP of IPv4 and IPv6.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

func systemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// answer is what a name was last resolved to.
type answer struct {
	addrs []netip.Addr
	err   error
}

// names keeps the last answers, so that what asks for addresses need not wait for a server that may be slow or away. It is
// guarded by the fleet.
type names map[string]answer

// of is egress.Resolve's lookup.
func (n names) of(host string) ([]netip.Addr, error) {
	a, known := n[host]
	if !known {
		return nil, errUnresolved
	}
	return a.addrs, a.err
}

// resolve keeps the answers up to date until ctx ends: with each report of the platform, and while a name cannot be resolved.
func (f *Fleet) resolve(ctx context.Context) {
	for {
		var again <-chan time.Time
		if !f.lookUp(ctx, f.wanted()) {
			again = time.After(retryAfter)
		}
		select {
		case <-ctx.Done():
			return
		case <-f.reported:
		case <-again:
		}
	}
}

// wanted returns the names that are in use, and forgets the answers for all others.
func (f *Fleet) wanted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	hosts := hostsOf(slices.Concat(f.production.state.Instances, f.shadow.state.Instances, slices.Collect(maps.Values(f.guests))))
	for _, h := range f.workload.Replay.AllowHosts {
		addHost(hosts, h)
	}
	maps.DeleteFunc(f.names, func(host string, _ answer) bool { return !hosts[host] })
	return slices.Collect(maps.Keys(hosts))
}

// hostsOf returns the hosts of instances that are names.
func hostsOf(instances []platform.Instance) map[string]bool {
	hosts := map[string]bool{}
	for _, i := range instances {
		addHost(hosts, i.Address)
	}
	return hosts
}

func addHost(hosts map[string]bool, hostport string) {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return // said where the address is used
	}
	if _, err := netip.ParseAddr(host); err != nil {
		hosts[host] = true
	}
}

// lookUp resolves names with no lock held, then takes over the answers. It reports whether each has one.
func (f *Fleet) lookUp(ctx context.Context, hosts []string) bool {
	if len(hosts) == 0 {
		return true
	}
	var mu sync.Mutex
	found, all := names{}, true
	var g errgroup.Group
	g.SetLimit(lookupsAtOnce)
	for _, host := range hosts {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			addrs, err := f.lookup(ctx, host)
			mu.Lock()
			defer mu.Unlock()
			found[host] = answer{addrs, err}
			all = all && err == nil
			return nil
		})
	}
	_ = g.Wait() // the errors are in the answers
	if ctx.Err() != nil {
		return false // and say nothing about the names
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.names, found)
	f.settle()
	return all
}
