package provisioner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/rest"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const freezeVariable = "PROVISIONER_TEST_FREEZE"

// sleeper is what a provisioner that will be frozen works with.
type sleeper struct {
	Broker, URL, Identity, StateDir string
	Workload                        workload.Workload
}

// provisionUntilFrozen is the process that is frozen; it says on its output where it listens, and when it leads.
func provisionUntilFrozen() int {
	var s sleeper
	err := json.Unmarshal([]byte(os.Getenv(freezeVariable)), &s)
	if err == nil {
		err = s.run()
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func (s sleeper) run() error {
	groups, err := kubernetes.Groups([]workload.Workload{s.Workload})
	if err != nil {
		return err
	}
	client, err := kubernetes.NewFor(&rest.Config{Host: s.URL, UserAgent: s.Identity}, kubernetes.DefaultConfig(), groups)
	if err != nil {
		return err
	}
	cfg := DefaultConfig() // with the lease that is the default
	cfg.Listen, cfg.StateDir = "127.0.0.1:0", s.StateDir
	cfg.Lease.Name, cfg.Lease.Namespace, cfg.Lease.Identity = "provisioner", s.Workload.Production.Kubernetes.Namespace, s.Identity
	log := slog.New(slog.DiscardHandler)
	election, err := NewElection(cfg.Lease, client, log)
	if err != nil {
		return err
	}
	registry := telemetry.NewRegistry()
	brokers := kafka.Default()
	brokers.Brokers = []string{s.Broker}
	p, err := New(cfg, Deps{
		Workloads: []workload.Workload{s.Workload}, Kafka: brokers, Platform: client, Log: log, Registry: registry,
		Admin: telemetry.NewAdmin(registry), Election: election,
	})
	if err != nil {
		return err
	}
	p.listening = func(address string) { fmt.Println(address) }
	p.following = func() { fmt.Println("leading") }
	return p.Run(context.Background())
}

// process starts a provisioner as a process.
func (b *clusterBench) process(identity string) (*exec.Cmd, contender) {
	b.t.Helper()
	data, err := json.Marshal(sleeper{
		Broker: b.kafka.Brokers[0], URL: b.URL(), Identity: identity, StateDir: b.t.TempDir(), Workload: b.workload,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), freezeVariable+"="+string(data))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	c, address, ended := contender{leads: make(chan struct{})}, make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		leads := sync.OnceFunc(func() { close(c.leads) })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "leading" {
				leads()
			} else {
				address <- lines.Text()
			}
		}
	}()
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait() // it was killed
	})
	select {
	case c.address = <-address:
	case <-ended:
		b.t.Fatal("the process said nothing")
	}
	return cmd, c
}

// TestLeaderFrozenPastItsLease stops the process that leads, lets the other one take over, and wakes the first: it writes
// nothing that gets through, and answers nothing by what it knew.
func TestLeaderFrozenPastItsLease(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	if kubernetestest.Real() {
		c = kubernetestest.NewOnPlane(t, kubernetestest.Start(t))
	}
	b := newClusterBench(t, c, nil)
	first, old := b.process("first")
	b.wait4(old.leads)
	client := b.ask(nil, old)
	if s := b.answers("the first", client); s.GetPaused() {
		t.Fatal("paused")
	}
	b.recommend(4, 0)
	b.action(production, applied)
	_, next := b.process("second")
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	b.wait4(next.leads)
	took := time.Since(begin)
	b.appliedFor(b.recommend(2, 0))
	if err := b.pause(b.ask(nil, next), "ann"); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { // while it is frozen, on the connection of before
		s, err := b.status(client)
		if err == nil && !s.GetPaused() {
			err = errors.New("it says what it knew when it led")
		}
		answer <- err
	}()
	before := c.Find("apps/v1", "deployments", "web")["metadata"].(map[string]any)["annotations"]
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil && status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	if _, err := b.ask(nil, next).ResumeProvisioning(t.Context(), &foreshadowv1.ResumeProvisioningRequest{Workload: b.workload.Name}); err != nil {
		t.Fatal(err)
	}
	// It wakes with its old recommendations and its old lease; a newer one is carried out once, by the second.
	r := b.recommend(5, 0)
	a := b.appliedFor(r)
	s := b.production()
	if s.Desired != 5 || a.GetGeneration() != r.GetGeneration() {
		t.Errorf("state %+v, recorded %v", s, a)
	}
	after := fmt.Sprint(c.Find("apps/v1", "deployments", "web")["metadata"].(map[string]any)["annotations"])
	if epoch(fmt.Sprint(before)) == "" || epoch(fmt.Sprint(before)) != epoch(after) {
		t.Errorf("the epoch changed from %v to %v", before, after)
	}
	t.Logf("took over %s after the leader was frozen", took.Round(time.Millisecond))
	if took > 15*time.Second {
		t.Errorf("took over after %s", took)
	}
}

// appliedFor waits for the record of a recommendation. Others may come once more: a change is recorded at least once.
func (b *clusterBench) appliedFor(r *foreshadowv1.Recommendation) *foreshadowv1.ScalingApplied {
	b.t.Helper()
	for {
		if a := b.action(production, applied); a.GetGeneration() == r.GetGeneration() {
			return a
		}
	}
}

// epoch is that of the annotation.
func epoch(annotations string) string {
	_, rest, found := strings.Cut(annotations, `"epoch":`)
	if !found {
		return ""
	}
	digits, _, _ := strings.Cut(rest, ",")
	return digits
}
