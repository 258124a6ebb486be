package provisioner

import (
	"net"
	"strings"
	"testing"
)

func TestWhereOthersReachAProvisioner(t *testing.T) {
	t.Parallel()
	specific := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 7005}
	everywhere := &net.TCPAddr{IP: net.IPv6zero, Port: 7005}
	for name, c := range map[string]struct {
		advertise string
		listens   net.Addr
		want      string
	}{
		"where it listens":   {"", specific, "10.0.0.7:7005"},
		"an address":         {"10.1.2.3", everywhere, "10.1.2.3:7005"},
		"one of version 6":   {"fd00::7", everywhere, "[fd00::7]:7005"},
		"a name":             {"pod-0.provisioner", everywhere, "pod-0.provisioner:7005"},
		"with another port":  {"10.1.2.3:17005", everywhere, "10.1.2.3:17005"},
		"version 6 and port": {"[fd00::7]:17005", everywhere, "[fd00::7]:17005"},
	} {
		cfg := Config{Advertise: c.advertise}
		if got, err := cfg.address(c.listens); got != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
	for _, bad := range []string{"a:b:c", ":7005", "[fd00::7", "fd00::7:what"} {
		cfg := DefaultConfig()
		cfg.Advertise = bad
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "provisioner.advertise") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// One that listens everywhere says an address of the machine, where that has one that others reach.
func TestTheAddressOfAMachine(t *testing.T) {
	t.Parallel()
	got, err := Config{}.address(&net.TCPAddr{IP: net.IPv4zero, Port: 7005})
	if err != nil {
		if !strings.Contains(err.Error(), "provisioner.advertise") {
			t.Errorf("%v does not say what to do", err)
		}
		return
	}
	host, port, err := net.SplitHostPort(got)
	if ip := net.ParseIP(host); err != nil || port != "7005" || ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		t.Errorf("said %q, %v", got, err)
	}
	if _, err := (Config{}).address(&net.UnixAddr{Name: "socket"}); err == nil {
		t.Error("said where a socket is")
	}
}
