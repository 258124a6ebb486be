package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/workload"
)

func TestConfigFaultsNameTheirKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  AgentConfig
		want string
	}{
		{AgentConfig{}, "socket: is missing"},
		{AgentConfig{Socket: strings.Repeat("s", 108)}, "at most 107 bytes"},
		{AgentConfig{Socket: "a/b", LogDir: "a/./b"}, "log_dir"},
	} {
		if err := test.cfg.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.cfg, err, test.want)
		}
	}
	if err := DefaultAgentConfig().Validate(); err != nil {
		t.Error(err)
	}
	if _, err := New(DefaultAgentConfig(), Deps{}); err == nil || !strings.Contains(err.Error(), "no workload") {
		t.Errorf("agent without groups: %v", err)
	}
	nothing := map[string]Group{"web": {}}
	if _, err := New(DefaultAgentConfig(), Deps{Groups: nothing}); err == nil || !strings.Contains(err.Error(), `"web"`) {
		t.Errorf("group without a command: %v", err)
	}
}

func TestGroupsOfWorkloads(t *testing.T) {
	t.Parallel()
	target := func(group, platform string, command ...string) workload.Target {
		return workload.Target{Platform: platform, Group: group, Process: workload.Process{Command: command}}
	}
	shop := workload.Workload{Name: "shop", Production: target("shop", "local", "shop"), Shadow: target("shop-shadow", "local", "shop")}
	far := workload.Workload{Name: "far", Production: target("far", "elsewhere", "far"), Shadow: target("shop-shadow", "local", "shop")}
	groups, err := Groups([]workload.Workload{shop, far})
	if err != nil || len(groups) != 2 {
		t.Fatalf("groups %v, %v, want the two on this platform", groups, err)
	}
	if groups["shop"].Version != groups["shop-shadow"].Version {
		t.Error("the shadow runs the same and has another version")
	}
	thief := workload.Workload{Name: "thief", Production: target("shop", "local", "other")}
	if _, err := Groups([]workload.Workload{shop, thief}); err == nil || !strings.Contains(err.Error(), `"thief"`) {
		t.Errorf("two workloads in one group: %v", err)
	}
}

func TestOutputIsCutOffAndNeverFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o, err := newOutput(dir, "web-1")
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 99_999) + "\n")
	for range 12 {
		if n, err := o.Write(line); n != len(line) || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if _, err := o.Write([]byte("first\nthe \x1b[31mlast\n\n")); err != nil {
		t.Fatal(err)
	}
	o.close()
	if got := o.lastLine(); got != "the [31mlast" {
		t.Errorf("last line %q, want it without control characters", got)
	}
	info, err := os.Stat(filepath.Join(dir, "web-1.log"))
	if err != nil || info.Size() < maxOutputBytes || info.Size() > maxOutputBytes+100 {
		t.Errorf("file of %d bytes, %v, want about %d", info.Size(), err, maxOutputBytes)
	}
}
