package provisioner

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/local"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const killVariable = "PROVISIONER_TEST_KILL"

// victim is what a provisioner that will be killed works with.
type victim struct {
	Broker, Socket, StateDir, Workload string
}

// provisionUntilKilled is the process that is killed; it says on its output when it follows recommendations.
func provisionUntilKilled() int {
	var v victim
	err := json.Unmarshal([]byte(os.Getenv(killVariable)), &v)
	if err == nil {
		err = v.run()
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func (v victim) run() error {
	cfg := DefaultConfig()
	cfg.Listen, cfg.StateDir = "127.0.0.1:0", v.StateDir
	registry := telemetry.NewRegistry()
	brokers := kafka.Default()
	brokers.Brokers = []string{v.Broker}
	s, err := New(cfg, Deps{
		Workloads: []workload.Workload{declared(v.Workload)}, Kafka: brokers, Platform: local.NewClient(v.Socket),
		Log: slog.New(slog.DiscardHandler), Registry: registry, Admin: telemetry.NewAdmin(registry),
	})
	if err != nil {
		return err
	}
	s.following = func() { fmt.Println("following") }
	return s.Run(context.Background())
}

// TestEveryChangeIsRecordedWhateverIsKilled kills the provisioner at moments of chance around the change it makes. What the
// platform says it accepted is compared with what was recorded in the end.
func TestEveryChangeIsRecordedWhateverIsKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.stop()
	accepted := &generations{seen: map[uint64]bool{}}
	b.background(func(ctx context.Context) error {
		b.platform.Watch(ctx, "production", accepted.add)
		return nil
	})
	const rounds = 8
	for round := range rounds {
		kill := b.startVictim()
		b.recommend(int32(1+round%5), 0)
		time.Sleep(rand.N(100 * time.Millisecond)) // the moment of chance
		kill()
	}
	b.start()
	b.recommend(6, 0) // the most: it waits for nothing that is under way
	recorded := map[uint64]bool{}
	b.until("a record of every accepted change", func() bool {
		for len(b.actions) > 0 {
			if a := <-b.actions; a.GetEnvironment() == production {
				recorded[a.GetGeneration()] = true
			}
		}
		return accepted.within(recorded) && b.state("production").Desired == 6
	})
	t.Logf("%d changes were accepted in %d rounds", accepted.count(), rounds)
}

// startVictim starts a provisioner that follows recommendations, and returns what kills it.
func (b *bench) startVictim() (kill func()) {
	b.t.Helper()
	v, err := json.Marshal(victim{Broker: b.kafka.Brokers[0], Socket: b.platform.Socket(), StateDir: b.stateDir, Workload: b.workload.Name})
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), killVariable+"="+string(v)), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, which Wait says
	})
	b.t.Cleanup(kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.t.Fatalf("provisioner said %q, %v", line, err)
	}
	return kill
}

// generations are those that a platform accepted.
type generations struct {
	mu   sync.Mutex
	seen map[uint64]bool
}

func (g *generations) add(s platform.State, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && s.Generation > 0 {
		g.seen[s.Generation] = true
	}
}

func (g *generations) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seen)
}

// within says whether all of them are in a set.
func (g *generations) within(set map[uint64]bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for generation := range g.seen {
		if !set[generation] {
			return false
		}
	}
	return len(g.seen) > 0
}
