package local

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform/agent"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// Platform is the name of this platform in workload.Target.
const Platform = "local"

// MaxInstances bounds what can be asked of one group: a machine that runs more processes of one service is a mistake.
const MaxInstances = 500

const (
	defaultStartTimeout = time.Minute
	defaultDrainTimeout = 30 * time.Second
)

// AgentConfig says where the agent is reached and where it keeps what the instances print.
type AgentConfig struct {
	// Socket is the path of the unix socket; only the user that runs the agent can connect to it.
	Socket string `yaml:"socket"`
	// LogDir gets one file of at most 1 MiB per instance, and keeps the last 10 of each group; empty discards the output.
	LogDir string `yaml:"log_dir"`
	// Admin is the address of the admin listener of the agent's process.
	Admin string `yaml:"admin"`
}

// DefaultAgentConfig keeps the socket in the working directory and discards the instances' output.
func DefaultAgentConfig() AgentConfig {
	return AgentConfig{Socket: "foreshadow-platform.sock", Admin: "127.0.0.1:9107"}
}

// Validate names the key of each fault.
func (c AgentConfig) Validate() error {
	errs := []error{agent.CheckSocket(c.Socket)}
	if c.LogDir != "" && filepath.Clean(c.LogDir) == filepath.Clean(c.Socket) {
		errs = append(errs, fmt.Errorf("log_dir: is the socket %q", c.Socket))
	}
	return errors.Join(errs...)
}

// Group is what the instances of one group run.
type Group struct {
	// Process is how one instance is run; a StartTimeout or DrainTimeout of 0 is 1 min or 30 s.
	Process workload.Process
	// Version names what they run; see Version.
	Version string
}

// Groups returns the groups that workloads have on the local platform, by name. Two targets may share a group only when
// they run the same there.
func Groups(workloads []workload.Workload) (map[string]Group, error) {
	groups := map[string]Group{}
	var errs []error
	for _, w := range workloads {
		for _, t := range []workload.Target{w.Production, w.Shadow} {
			if t.Platform != Platform {
				continue
			}
			g := Group{Process: t.Process, Version: Version(t.Process)}
			if other, taken := groups[t.Group]; taken && other.Version != g.Version {
				errs = append(errs, fmt.Errorf("workload %q: group %q is taken by one that runs something else", w.Name, t.Group))
				continue
			}
			groups[t.Group] = g
		}
	}
	return groups, errors.Join(errs...)
}

// Version is a short name of what a process runs: equal for equal command and environment.
func Version(p workload.Process) string {
	// Only strings go in, and encoding those does not fail; maps are encoded in the order of their keys.
	data, _ := json.Marshal(struct {
		Command []string
		Env     map[string]string
	}{p.Command, p.Env})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:4])
}
