package docker

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform/agent"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// Platform is the name of this platform in workload.Target.
const Platform = workload.PlatformDocker

// MaxInstances bounds what can be asked of one group: an engine that runs more of one service is a mistake.
const MaxInstances = 200

const (
	defaultStartTimeout = time.Minute
	defaultDrainTimeout = 30 * time.Second
)

// AgentConfig is the section docker_platform of the configuration file.
type AgentConfig struct {
	// Socket is the path of the unix socket that the agent serves, and its clients ask.
	Socket string `yaml:"socket"`
	// Engine is where the Engine API is: unix:///var/run/docker.sock, or tcp://host:port of a proxy of it or of a remote engine.
	Engine string `yaml:"engine"`
	// TLS secures a remote engine; without it tcp is plain text.
	TLS TLS `yaml:"tls"`
	// StateDir keeps what was asked for over restarts; one agent uses it at a time.
	StateDir string `yaml:"state_dir"`
	// Admin is the address of the admin listener of the agent's process.
	Admin string `yaml:"admin"`
}

// TLS names PEM files.
type TLS struct {
	// CA signs the engine's certificate.
	CA string `yaml:"ca"`
	// Certificate and Key are what the engine knows its callers by.
	Certificate string `yaml:"certificate"`
	// Key belongs to Certificate.
	Key string `yaml:"key"`
}

// DefaultAgentConfig is for an engine of this machine.
func DefaultAgentConfig() AgentConfig {
	return AgentConfig{
		Socket: "foreshadow-docker.sock", Engine: "unix:///var/run/docker.sock", StateDir: "foreshadow-state/docker", Admin: "127.0.0.1:9110",
	}
}

// Validate names the key of each fault.
func (c AgentConfig) Validate() error {
	errs := []error{agent.CheckSocket(c.Socket)}
	scheme, rest, _ := strings.Cut(c.Engine, "://")
	if _, err := url.Parse(c.Engine); err != nil || scheme != "unix" && scheme != "tcp" || rest == "" {
		errs = append(errs, fmt.Errorf("engine: want unix:///path or tcp://host:port, got %q", c.Engine))
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls.key: certificate and key belong together; one of them is missing"))
	}
	if c.StateDir == "" {
		errs = append(errs, errors.New("state_dir: is missing"))
	}
	return errors.Join(errs...)
}

// Group is what the instances of one group are.
type Group struct {
	workload.Docker
}

// withDefaults fills in what was left out.
func (g Group) withDefaults() Group {
	if g.StartTimeout == 0 {
		g.StartTimeout = defaultStartTimeout
	}
	if g.DrainTimeout == 0 {
		g.DrainTimeout = defaultDrainTimeout
	}
	return g
}

// Groups returns the groups that workloads have on Docker, by name. Two targets may share a group only when they are the same
// containers, and no two groups may.
func Groups(workloads []workload.Workload) (map[string]Group, error) {
	groups := map[string]Group{}
	var errs []error
	for _, w := range workloads {
		for _, t := range []workload.Target{w.Production, w.Shadow} {
			if t.Platform != Platform {
				continue
			}
			for name, other := range groups {
				if same := maps.Equal(other.Labels, t.Docker.Labels); same != (name == t.Group) {
					errs = append(errs, fmt.Errorf("workload %q: group %q and group %q: want the same labels for one group, and others for another", w.Name, t.Group, name))
				}
			}
			groups[t.Group] = Group{Docker: t.Docker}
		}
	}
	return groups, errors.Join(errs...)
}
