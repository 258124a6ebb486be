package command

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/resolver"

	"github.com/foreshadow/foreshadow/services/stack"
)

// endpoint is an address of the file, and its key.
type endpoint struct{ key, address string }

// listeners are what processes of the file listen on: those of all services, and of the agents of the platforms that the file uses.
func (f file) listeners() []endpoint {
	out := []endpoint{
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
			out = append(out, endpoint{"local_platform.admin", f.LocalPlatform.Admin})
		case stack.DockerPlatform:
			out = append(out, endpoint{"docker_platform.admin", f.DockerPlatform.Admin})
		}
	}
	for i, w := range f.Workloads {
		for j, d := range w.Replay.Dependencies {
			out = append(out, endpoint{fmt.Sprintf("workloads[%d].replay.dependencies[%d].listen", i, j), d.Listen})
		}
	}
	return out
}

// dialled are the addresses that processes of the file connect to, or have others connect to. The database's is a URL that its
// driver has read, and the hosts that a shadow may ask are their workload's to say.
func (f file) dialled() []endpoint {
	out := []endpoint{
		{"telemetry.traces.endpoint", f.Telemetry.Traces.Endpoint}, {"docker_platform.engine", f.DockerPlatform.Engine},
		{"kubernetes.prometheus", f.Kubernetes.Prometheus},
	}
	for i, b := range f.Kafka.Brokers {
		out = append(out, endpoint{fmt.Sprintf("kafka.brokers[%d]", i), b})
	}
	// That these have a port at all their sections say.
	out = slices.DeleteFunc(out, func(e endpoint) bool { return strings.HasSuffix(e.address, ":") })
	return append(out, []endpoint{
		{"predictor.history", f.Predictor.History}, {"provisioner.history", f.Provisioner.History}, {"provisioner.advertise", f.Provisioner.Advertise},
		{"console.history", f.Console.History}, {"console.predictor", f.Console.Predictor}, {"console.provisioner", f.Console.Provisioner},
		{"console.shadow_runner", f.Console.ShadowRunner},
	}...)
}

// validatePorts refuses ports that there are not; that an address is host:port each section says itself.
func (f file) validatePorts() error {
	var errs []error
	check := func(e endpoint, address string, least int) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return
		}
		if n, err := net.LookupPort("tcp", port); err != nil || n < least {
			errs = append(errs, fmt.Errorf("%s: there is no port %q", e.key, port))
		}
	}
	for _, l := range f.listeners() {
		check(l, l.address, 0) // any that is free
	}
	for _, d := range f.dialled() {
		check(d, authority(d.address), 1)
	}
	return errors.Join(errs...)
}

// authority is the host:port of an address to dial: a URL has it within, and a target of gRPC's such as unix:path has none.
func authority(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" && resolver.Get(u.Scheme) == nil {
		return address
	}
	return u.Host
}

// validateApart refuses two listeners on one address. Services of one file that run on several machines may have the same, so it
// is not for each of them to say.
func (f file) validateApart() error {
	untouched := defaultFile()
	untouched.Workloads = f.Workloads
	all, defaults := f.listeners(), untouched.listeners()
	// What is given comes after what is not, so that the fault is at a line that is there.
	slices.SortStableFunc(all, func(a, b endpoint) int {
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
		if j := slices.IndexFunc(all[:i], func(other endpoint) bool { return collide(l.address, other.address) }); j >= 0 {
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
