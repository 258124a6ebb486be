package integration_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/stack"
)

const experimentFile = `workload: shop
hold: 2s
budget: {instances: 2, minutes: 5}
configurations:
  - name: as-is
  - {name: other, env: {GOMAXPROCS: "1"}}
  - {name: sized, cpu_cores: 0.5, memory_bytes: 1073741824}
loads:
  - {name: half, times: 0.5}
  - {name: now, times: 1}
`

// TestAKilledRunnerGoesOnWithItsExperiment kills the shadow-runner with SIGKILL once the first cell is recorded. The command
// that follows the experiment feels nothing of it, and every cell is there once.
func TestAKilledRunnerGoesOnWithItsExperiment(t *testing.T) {
	w := start(t)
	ctx, leave := context.WithCancel(t.Context())
	var u users
	var wg sync.WaitGroup
	wg.Go(func() { u.come(ctx, "http://"+w.Listen(stack.Replicator), 40) })
	defer wg.Wait()
	defer leave()

	file, report := filepath.Join(w.dir, "e.yaml"), filepath.Join(w.dir, "e.json")
	if err := os.WriteFile(file, []byte(experimentFile), 0o600); err != nil {
		t.Fatal(err)
	}
	client := foreshadowv1.NewExperimentServiceClient(w.dial(stack.ShadowRunner))
	cells := func() int {
		resp, err := client.ListExperiments(t.Context(), &foreshadowv1.ListExperimentsRequest{})
		if err != nil || len(resp.GetExperiments()) == 0 {
			return 0
		}
		return len(resp.GetExperiments()[0].GetCells())
	}
	var command *exec.Cmd
	var out strings.Builder
	eventually(t, 60*time.Second, func() string {
		// Nothing may be asked of a shadow that is not there yet; that is refused at once and starts nothing.
		out.Reset()
		command = exec.Command(binary, "experiment", "run", "-f", file, "--json", report, "--shadow-runner", w.Listen(stack.ShadowRunner))
		command.Stdout, command.Stderr = &out, &out
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- command.Wait() }()
		for range 400 {
			select {
			case <-ended:
				return "the experiment is refused: " + out.String()
			case <-time.After(50 * time.Millisecond):
			}
			if cells() > 0 {
				w.kill(stack.ShadowRunner)
				select {
				case err := <-ended:
					if err != nil {
						t.Fatalf("the command ended with %v:\n%s", err, out.String())
					}
				case <-time.After(3 * time.Minute):
					_ = command.Process.Kill()
					<-ended
					t.Fatalf("the experiment was not gone on with:\n%s", out.String())
				}
				return ""
			}
		}
		_ = command.Process.Kill()
		<-ended
		return "no cell was recorded in time"
	})
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var e foreshadowv1.Experiment
	if err := protojson.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, c := range e.GetCells() {
		name := c.GetConfiguration() + "/" + c.GetLoad()
		seen[name]++
		// What an instance of a trial uses is read where it runs.
		if r := c.GetResult(); r != nil && r.GetMemoryBytes() == 0 {
			t.Errorf("cell %s says that no memory was used", name)
		}
		// Where no control group can be made, that is said.
		if f := c.GetFailure(); f != "" && c.GetConfiguration() == "sized" && !strings.Contains(f, "cannot be bounded") {
			t.Errorf("cell %s failed: %s", name, f)
		}
	}
	for _, name := range []string{"as-is/half", "as-is/now", "other/half", "other/now", "sized/half", "sized/now"} {
		if seen[name] != 1 {
			t.Errorf("cell %s is there %d times", name, seen[name])
		}
	}
	if e.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED || len(seen) != 6 {
		t.Errorf("ended as %v with %v", e.GetState(), seen)
	}
	t.Logf("\n%s", out.String())
}

// TestAWrongExperimentFileStartsNothing: one line per fault, with its number, before anyone is asked for anything.
func TestAWrongExperimentFileStartsNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "e.yaml")
	bad := strings.NewReplacer("times: 0.5", "times: 50", "instances: 2", "instances: 0", "hold:", "holds:").Replace(experimentFile)
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := execute(t, "experiment", "run", "-f", file, "--shadow-runner", deadAddress(t))
	for _, want := range []string{"e.yaml:2: unknown key \"holds\"", "e.yaml:3: budget.instances: ", "e.yaml:9: loads[0].times: "} {
		if strings.Count(out, want) != 1 {
			t.Errorf("want once %q", want)
		}
	}
	if n := strings.Count(strings.TrimSpace(out), "\n") + 1; code != 2 || n != 3 {
		t.Errorf("exit code %d and %d lines, want 2 and 3:\n%s", code, n, out)
	}
}
