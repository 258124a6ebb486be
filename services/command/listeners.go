package command

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/foreshadow/foreshadow/services/stack"
)

// listener is an address that a process of the file listens on, and its key.
type listener struct{ key, address string }

// listeners are those of all services, and of the agents of the platforms that the file uses.
func (f file) listeners() []listener {
	out := []listener{
		{"replicator.listen", f.Replicator.Listen}, {"replicator.admin", f.Replicator.Admin},
		{"shadow_runner.listen", f.ShadowRunner.Listen}, {"shadow_runner.admin", f.ShadowRunner.Admin},
		{"metrics_aggregator.listen", f.Aggregator.Listen}, {"metrics_aggregator.admin", f.Aggregator.Admin},
		{"predictor.listen", f.Predictor.Listen}, {"predictor.admin", f.Predictor.Admin},
		{"provisioner.listen", f.Provisioner.Listen}, {"provisioner.admin", f.Provisioner.Admin},
		{"console.listen", f.Console.Listen}, {"console.admin", f.Console.Admin},
	}
	for _, p := range platforms(f) {
		switch p {
		case stack.LocalPlatform:
			out = append(out, listener{"local_platform.admin", f.LocalPlatform.Admin})
		case stack.DockerPlatform:
			out = append(out, listener{"docker_platform.admin", f.DockerPlatform.Admin})
		}
	}
	for i, w := range f.Workloads {
		for j, d := range w.Replay.Dependencies {
			out = append(out, listener{fmt.Sprintf("workloads[%d].replay.dependencies[%d].listen", i, j), d.Listen})
		}
	}
	return out
}

// validatePorts refuses ports that there are not; that an address is host:port each section says itself.
func (f file) validatePorts() error {
	var errs []error
	for _, l := range f.listeners() {
		_, port, err := net.SplitHostPort(l.address)
		if err != nil {
			continue
		}
		if _, err := net.LookupPort("tcp", port); err != nil {
			errs = append(errs, fmt.Errorf("%s: there is no port %q", l.key, port))
		}
	}
	return errors.Join(errs...)
}

// validateApart refuses two listeners on one address. Services of one file that run on several machines may have the same, so it
// is not for each of them to say.
func (f file) validateApart() error {
	untouched := defaultFile()
	untouched.Workloads = f.Workloads
	all, defaults := f.listeners(), untouched.listeners()
	// What is given comes after what is not, so that the fault is at a line that is there.
	slices.SortStableFunc(all, func(a, b listener) int {
		switch given, too := !slices.Contains(defaults, a), !slices.Contains(defaults, b); {
		case given == too:
			return 0
		case given:
			return 1
		}
		return -1
	})
	var errs []error
	for i, l := range all {
		if j := slices.IndexFunc(all[:i], func(other listener) bool { return collide(l.address, other.address) }); j >= 0 {
			errs = append(errs, fmt.Errorf("%s: %s is taken by %s, which is %s", l.key, l.address, all[j].key, all[j].address))
		}
	}
	return errors.Join(errs...)
}

// collide says whether nobody can listen on both: port 0 is any that is free, and a host that is unspecified is all of them.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return host(hostA) == host(hostB) || host(hostA) == "" || host(hostB) == ""
}

// host is the name that a host is compared by; empty for all hosts.
func host(name string) string {
	if ip := net.ParseIP(name); ip != nil && ip.IsUnspecified() {
		return ""
	}
	if name == "localhost" {
		return "127.0.0.1"
	}
	return name
}
