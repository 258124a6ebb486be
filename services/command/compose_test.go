package command

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// compose is what of docker-compose.yml the configuration has to agree with.
type compose struct {
	Name     string
	Services map[string]struct {
		Networks    []string
		Volumes     []string
		NetworkMode string `yaml:"network_mode"`
		Ports       []string
		Command     []string
	}
	Networks map[string]*struct{ Internal bool }
}

// TestComposeStackAndItsConfigurationAgree: nothing else would, until somebody starts it.
func TestComposeStackAndItsConfigurationAgree(t *testing.T) {
	t.Parallel()
	f, err := load("../../deployments/docker/foreshadow.yaml")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	shop := f.Workloads[0]
	for _, target := range []workload.Target{shop.Production, shop.Shadow} {
		d := target.Docker
		name := d.Labels["com.docker.compose.service"]
		s, known := c.Services[name]
		network := strings.TrimPrefix(d.Network, c.Name+"_")
		if !known || d.Labels["com.docker.compose.project"] != c.Name || !slices.Contains(s.Networks, network) {
			t.Errorf("group %s: labels %v and network %s are not those of a service", target.Group, d.Labels, d.Network)
		}
		if !slices.Contains(c.Services["docker-platform"].Networks, network) {
			t.Errorf("docker-platform cannot check the instances of %s", target.Group)
		}
		if len(s.Ports) > 0 {
			t.Errorf("%s publishes %v, past the replicator", name, s.Ports)
		}
	}
	if !slices.Contains(c.Services["replicator"].Networks, "shop") || slices.Contains(c.Services["replicator"].Networks, "shadow") ||
		!slices.Contains(c.Services["shadow-runner"].Networks, "shadow") || slices.Contains(c.Services["shadow-runner"].Networks, "shop") {
		t.Error("replicator and shadow-runner: want each to reach its own side and not the other")
	}
	if n := c.Networks["shadow"]; n == nil || !n.Internal {
		t.Error("the shadow reaches the world")
	}
	// The engine's socket is for the proxy alone, and the proxy for the agent alone.
	for name, s := range c.Services {
		if strings.Contains(strings.Join(s.Volumes, " "), "docker.sock") != (name == "docker-proxy") {
			t.Errorf("%s mounts %v", name, s.Volumes)
		}
		if slices.Contains(s.Networks, "engine") != (name == "docker-proxy" || name == "docker-platform") {
			t.Errorf("%s is on the networks %v", name, s.Networks)
		}
	}
	for _, published := range c.Services["console"].Ports {
		if !strings.HasPrefix(published, "127.0.0.1:") {
			t.Errorf("the console, in plain text, is published as %s", published)
		}
	}
}

func TestEachPlatformOfAFileHasItsChild(t *testing.T) {
	t.Parallel()
	on := func(production, shadow string) file {
		return file{Workloads: []workload.Workload{{Production: workload.Target{Platform: production}, Shadow: workload.Target{Platform: shadow}}}}
	}
	for want, f := range map[string]file{
		"local-platform":                 on("local", "local"),
		"docker-platform":                on("docker", "docker"),
		"docker-platform local-platform": on("docker", "local"),
		"":                               on("kubernetes", "kubernetes"),
	} {
		if got := platforms(f); strings.Join(got, " ") != want || got == nil {
			t.Errorf("%v, want %q", got, want)
		}
	}
}
