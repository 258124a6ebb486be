package docker

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	later := now.Add(time.Second)
	// made is a unit of a name, whose first letter tells the template from a clone.
	made := func(name string, phase platform.Phase) *unit {
		return &unit{Instance: platform.Instance{ID: name, Phase: phase}, clone: name[0] == 'c', proven: true}
	}
	draining := made("c9", platform.Draining)
	draining.drainAt = later
	drained := made("c8", platform.Draining)
	ending := made("c7", platform.Failed)
	ending.ending = true
	for name, c := range map[string]struct {
		units   []*unit
		desired int
		retryAt time.Time
		wake    string
		create  int
		drain   string
		end     string
		drop    string
	}{
		"as it should be":       {units: []*unit{made("t", platform.Ready), made("c1", platform.Starting)}, desired: 2},
		"two more":              {units: []*unit{made("t", platform.Ready)}, desired: 3, create: 2},
		"the template wakes":    {units: []*unit{made("t", asleep)}, desired: 2, wake: "t", create: 1},
		"the template sleeps":   {units: []*unit{made("t", platform.Ready)}, desired: 0, drain: "t"},
		"the youngest goes":     {units: []*unit{made("t", platform.Ready), made("c1", platform.Ready), made("c2", platform.Ready)}, desired: 2, drain: "c2"},
		"who does not serve":    {units: []*unit{made("t", platform.Ready), made("c1", platform.Starting), made("c2", platform.Ready)}, desired: 2, drain: "c1"},
		"the template last":     {units: []*unit{made("c1", platform.Ready), made("c2", platform.Ready), made("t", platform.Starting)}, desired: 1, drain: "c2 c1"},
		"a failed one":          {units: []*unit{made("t", platform.Ready), made("c1", platform.Failed)}, desired: 2, create: 1, drop: "c1"},
		"not yet":               {units: []*unit{made("t", platform.Ready), made("c1", platform.Failed)}, desired: 2, retryAt: later},
		"not yet, but fewer":    {units: []*unit{made("t", platform.Ready), made("c1", platform.Ready)}, desired: 1, retryAt: later, drain: "c1"},
		"the template failed":   {units: []*unit{made("t", platform.Failed), made("c1", platform.Ready)}, desired: 2, wake: "t"},
		"failed and not wanted": {units: []*unit{made("t", platform.Ready), made("c1", platform.Failed)}, desired: 1, drop: "c1"},
		"draining":              {units: []*unit{made("t", platform.Ready), draining}, desired: 1},
		"drained":               {units: []*unit{made("t", platform.Ready), drained}, desired: 1, end: "c8"},
		"ending":                {units: []*unit{made("t", platform.Ready), ending}, desired: 2, create: 1},
		"none to be like":       {desired: 2, create: 2},
	} {
		s := plan(c.units, memory{Desired: c.desired}, c.retryAt, now)
		wake := ""
		if s.wake != nil {
			wake = s.wake.ID
		}
		got := []any{wake, s.create, ids(s.drain), ids(s.end), ids(s.drop)}
		if diff := cmp.Diff([]any{c.wake, c.create, c.drain, c.end, c.drop}, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func ids(units []*unit) string {
	var out []string
	for _, u := range units {
		out = append(out, u.ID)
	}
	return strings.Join(out, " ")
}

func TestAddressIsThatOfTheNamedNetwork(t *testing.T) {
	t.Parallel()
	on := func(names ...string) container.InspectResponse {
		c := container.InspectResponse{Name: "/web", NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{}}}
		for i, name := range names {
			c.NetworkSettings.Networks[name] = &network.EndpointSettings{IPAddress: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}
		}
		return c
	}
	for name, c := range map[string]struct {
		container container.InspectResponse
		network   string
		want      string
		fault     string
	}{
		"the only one":  {on("a"), "", "10.0.0.1:80", ""},
		"the named one": {on("a", "b"), "b", "10.0.0.2:80", ""},
		"not on it":     {on("a"), "b", "", ""},
		"one of two":    {on("a", "b"), "", "", "[a b]"},
		"none":          {on(), "", "", "docker.network"},
	} {
		got, err := address(c.container, workload.Docker{Network: c.network, Port: 80})
		if got != c.want || (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestNoCopyOfABorrowedNetwork(t *testing.T) {
	t.Parallel()
	for _, mode := range []container.NetworkMode{"host", "none", "container:abc"} {
		_, err := clone(container.InspectResponse{HostConfig: &container.HostConfig{NetworkMode: mode}}, "web", platform.Size{})
		if !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), string(mode)) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	if err := DefaultAgentConfig().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	err := AgentConfig{Engine: "http://engine", TLS: TLS{Certificate: "c"}}.Validate()
	for _, key := range []string{"socket", "engine", "tls.key", "state_dir"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%v does not name %s", err, key)
		}
	}
	if _, err := New(DefaultAgentConfig(), Deps{}); err == nil {
		t.Error("an agent without groups was made")
	}
}

func TestGroupsAreTheContainersOfOne(t *testing.T) {
	t.Parallel()
	on := func(group, service string) workload.Target {
		return workload.Target{Platform: Platform, Group: group, Docker: workload.Docker{Labels: labels(service)}}
	}
	for name, c := range map[string]struct {
		production, shadow workload.Target
		groups             int
		fault              bool
	}{
		"two":               {on("web", "web"), on("web-shadow", "shadow"), 2, false},
		"one elsewhere":     {on("web", "web"), workload.Target{Platform: workload.PlatformLocal, Group: "x"}, 1, false},
		"the same labels":   {on("web", "web"), on("other", "web"), 0, true},
		"the same group":    {on("web", "web"), on("web", "shadow"), 0, true},
		"the same for both": {on("web", "web"), on("web", "web"), 1, false},
	} {
		groups, err := Groups([]workload.Workload{{Name: "w", Production: c.production, Shadow: c.shadow}})
		if (err != nil) != c.fault || err == nil && len(groups) != c.groups {
			t.Errorf("%s: %v, %v", name, groups, err)
		}
	}
}

func TestMemoryThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	s := store{filepath.Join(t.TempDir(), "web.json")}
	if _, found, err := s.load(); found || err != nil {
		t.Errorf("none there: %v, %v", found, err)
	}
	want := memory{Desired: 3, Generation: 9, Size: platform.Size{CPUCores: 1}, Foreign: true, Containers: []string{"a", "b"}}
	if err := s.save(want); err != nil {
		t.Fatal(err)
	}
	got, found, err := s.load()
	if diff := cmp.Diff(want, got); diff != "" || !found || err != nil {
		t.Errorf("%v %v %s", found, err, diff)
	}
	if err := os.WriteFile(s.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.load(); err == nil {
		t.Error("half a file was read as what was asked for")
	}
}
