package stack

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refused is what Run says of a configuration that it must not start anything for: its program is not even there.
func refused(t *testing.T, cfg Config) string {
	t.Helper()
	cfg.Binary, cfg.ConfigFile = filepath.Join(t.TempDir(), "no-program"), "f.yaml"
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err = s.Run(ctx); err == nil {
		t.Fatal("it ran")
	}
	return err.Error()
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "up")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestADirectoryIsOnesAlone(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if said := refused(t, Config{Dir: dir}); !strings.Contains(said, dir+": another foreshadow runs there") {
		t.Errorf("said %q, want that the directory is taken", said)
	}
	unlock()
	if said := refused(t, Config{Dir: dir}); !strings.Contains(said, "no-program") {
		t.Errorf("said %q, want it to get as far as starting what is not there", said)
	}
}

func TestAnAddressThatIsTakenIsNamedByItsKey(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	taken := ln.Addr().String()
	want := "metrics_aggregator.listen: listen tcp " + taken + ": bind: address already in use"
	if said := refused(t, Config{Dir: shortDir(t), Listen: map[string]string{Console: freeAddress(t), Aggregator: taken}}); said != want {
		t.Errorf("said %q, want one line: %q", said, want)
	}
	twice := freeAddress(t)
	for key, cfg := range map[string]Config{
		"replicator.listen": {Listen: map[string]string{Console: twice, Replicator: twice}},
		"console.admin":     {Listen: map[string]string{Console: twice}, Admin: map[string]string{Console: twice, DockerPlatform: taken}},
	} {
		s := stackOf(t, cfg)
		if err := s.tryAddresses(t.Context()); err == nil || !strings.HasPrefix(err.Error(), key+": listen tcp "+twice) || strings.Contains(err.Error(), taken) {
			t.Errorf("error %v, want that the address of %s is given twice, and no word of what does not run", err, key)
		}
	}
	if s := stackOf(t, Config{Admin: map[string]string{Predictor: taken}}); s.Admin(Predictor) != taken ||
		!slices.Contains(s.children[Console].env, "FORESHADOW_PREDICTOR_ADMIN="+taken) {
		t.Errorf("the predictor's admin address is %s, want the one that is given", s.Admin(Predictor))
	}
}

// An address that becomes free a moment later, as after a kill, does not matter.
func TestAnAddressIsWaitedFor(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := stackOf(t, Config{Listen: map[string]string{Console: ln.Addr().String()}})
	if err := s.tryAddresses(t.Context()); err == nil {
		t.Fatal("an address that is taken is taken for free")
	}
	_ = ln.Close()
	if err := s.awaitAddresses(t.Context()); err != nil {
		t.Errorf("awaitAddresses: %v", err)
	}
}

// stackOf is a stack that is not run.
func stackOf(t *testing.T, cfg Config) *Stack {
	t.Helper()
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
}

func TestLastWordsAreTheLastLine(t *testing.T) {
	t.Parallel()
	c := &child{name: "broker", dir: t.TempDir()}
	long := strings.Repeat("x", 5000) + "\nforeshadow: listen tcp: in use\n"
	if err := os.WriteFile(c.logFile(), []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.lastWords(); got != "listen tcp: in use" {
		t.Errorf("lastWords = %q", got)
	}
	s := &Stack{cfg: Config{Platforms: []string{Broker}}, children: map[string]*child{Broker: c}}
	if errs := s.instanceFaults(); len(errs) > 0 {
		t.Errorf("faults %v of instances, want none", errs)
	}
	failed := `level=WARN msg="instance failed" group=shop reason="exit status 3"`
	if err := os.WriteFile(c.logFile(), []byte(failed+"\nlevel=INFO msg=other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if errs := s.instanceFaults(); len(errs) != 1 || errs[0].Error() != `broker: "instance failed" group=shop reason="exit status 3"` {
		t.Errorf("faults %v, want what was said of the instance", errs)
	}
}
