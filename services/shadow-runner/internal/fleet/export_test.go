package fleet

import (
	"context"
	"net/netip"
)

// SetLookup replaces the system's name resolution; before Run.
func (f *Fleet) SetLookup(l func(ctx context.Context, host string) ([]netip.Addr, error)) {
	f.lookup = l
}
