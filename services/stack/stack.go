package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/libs/embedded"
)

// Names of the children, in the order they start.
const (
	Postgres       = "postgres"
	Broker         = "broker"
	LocalPlatform  = "local-platform"
	DockerPlatform = "docker-platform"
	Aggregator     = "metrics-aggregator"
	Predictor      = "predictor"
	Provisioner    = "provisioner"
	ShadowRunner   = "shadow-runner"
	Console        = "console"
	Replicator     = "replicator"
)

var (
	ground = []string{Postgres, Broker}
	floor  = []string{Aggregator}
	upper  = []string{Predictor, Provisioner, ShadowRunner, Console, Replicator}
)

const readyTimeout = 60 * time.Second

// Config says what to run where.
type Config struct {
	// Binary is the foreshadow program.
	Binary string
	// ConfigFile is the user's configuration.
	ConfigFile string
	// Dir holds data, sockets and logs; it is created.
	Dir string
	// Platforms are those that need a child: LocalPlatform and DockerPlatform; LocalPlatform alone when nil.
	Platforms []string
	// Listen overrides where a child listens, by name; the others get free ports of loopback.
	Listen map[string]string
	// Admin does so for where a child's admin listener is.
	Admin map[string]string
	// BeforeUpper runs when history can be written and read, before the services that act on it start.
	BeforeUpper func(ctx context.Context, s *Stack) error
}

// Stack is the running whole.
type Stack struct {
	cfg      Config
	log      *slog.Logger
	children map[string]*child
	listen   map[string]string
	ready    chan struct{}

	mu      sync.Mutex
	started []*child
}

// maxDir leaves room for the names of the sockets below it: the kernel takes 107 bytes.
const maxDir = 80

// New chooses addresses; it starts nothing.
func New(cfg Config, log *slog.Logger) (*Stack, error) {
	if len(cfg.Dir) > maxDir {
		return nil, fmt.Errorf("run directory %q: its path has %d bytes, at most %d leave room for unix sockets", cfg.Dir, len(cfg.Dir), maxDir)
	}
	if cfg.Platforms == nil {
		cfg.Platforms = []string{LocalPlatform}
	}
	s := &Stack{cfg: cfg, log: log, children: map[string]*child{}, listen: map[string]string{}, ready: make(chan struct{})}
	names := slices.Concat(ground, cfg.Platforms, floor, upper)
	ports, err := freePorts(2 * len(names))
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		s.listen[name] = ports[2*i]
		if given := cfg.Listen[name]; given != "" {
			s.listen[name] = given
		}
		admin := ports[2*i+1]
		if given := cfg.Admin[name]; given != "" {
			admin = given
		}
		s.children[name] = &child{name: name, admin: admin, log: log, dir: s.logs()}
	}
	s.listen[LocalPlatform], s.listen[DockerPlatform] = Sockets(cfg.Dir)
	env := s.environment()
	for _, name := range names {
		c := s.children[name]
		c.env = env
		c.args = []string{name, "--config", cfg.ConfigFile}
	}
	s.children[Broker].args = []string{
		Broker, "--listen", s.listen[Broker], "--data-dir", filepath.Join(cfg.Dir, "kafka"), "--admin", s.children[Broker].admin,
	}
	s.children[Postgres].args = []string{
		Postgres, "--data-dir", s.postgresDir(), "--admin", s.children[Postgres].admin,
	}
	return s, nil
}

// Sockets are those of the platforms that a stack runs in dir.
func Sockets(dir string) (local, docker string) {
	return filepath.Join(dir, "platform.sock"), filepath.Join(dir, "docker.sock")
}

// freePorts asks the kernel for ports. All are held until the last is known, so that none comes twice.
func freePorts(n int) ([]string, error) {
	out := make([]string, n)
	for i := range out {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = ln.Close() }()
		out[i] = ln.Addr().String()
	}
	return out, nil
}

func (s *Stack) logs() string { return filepath.Join(s.cfg.Dir, "logs") }

// postgresDir holds the data and the socket of the private PostgreSQL.
func (s *Stack) postgresDir() string { return filepath.Join(s.cfg.Dir, "postgres") }

// DatabaseURL is the connection string of the private PostgreSQL.
func (s *Stack) DatabaseURL() string {
	return embedded.PostgresURL(s.postgresDir(), "foreshadow")
}

// environment tells every child where the others are.
func (s *Stack) environment() []string {
	env := []string{
		"FORESHADOW_KAFKA_BROKERS=" + s.listen[Broker],
		"FORESHADOW_DATABASE_URL=" + s.DatabaseURL(),
		"FORESHADOW_LOCAL_PLATFORM_SOCKET=" + s.listen[LocalPlatform],
		"FORESHADOW_LOCAL_PLATFORM_LOG_DIR=" + s.logs(),
		"FORESHADOW_DOCKER_PLATFORM_SOCKET=" + s.listen[DockerPlatform],
		"FORESHADOW_DOCKER_PLATFORM_STATE_DIR=" + filepath.Join(s.cfg.Dir, "docker"),
		"FORESHADOW_PROVISIONER_STATE_DIR=" + filepath.Join(s.cfg.Dir, "provisioner"),
	}
	for name, c := range s.children {
		section := "FORESHADOW_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		env = append(env, section+"_ADMIN="+c.admin)
		if !slices.Contains(s.cfg.Platforms, name) {
			env = append(env, section+"_LISTEN="+s.listen[name])
		}
	}
	for _, section := range []string{"PREDICTOR", "PROVISIONER", "CONSOLE"} {
		env = append(env, "FORESHADOW_"+section+"_HISTORY="+s.listen[Aggregator])
	}
	return append(env,
		"FORESHADOW_CONSOLE_PREDICTOR="+s.listen[Predictor],
		"FORESHADOW_CONSOLE_PROVISIONER="+s.listen[Provisioner],
		"FORESHADOW_CONSOLE_SHADOW_RUNNER="+s.listen[ShadowRunner],
	)
}

// Listen is the address a child serves on.
func (s *Stack) Listen(name string) string { return s.listen[name] }

// Admin is the address of a child's admin listener.
func (s *Stack) Admin(name string) string { return s.children[name].admin }

// Ready is closed when every child is ready.
func (s *Stack) Ready() <-chan struct{} { return s.ready }

// Signal sends a signal to a child: SIGKILL to see that nothing is lost, SIGSTOP to see that nothing waits for it.
func (s *Stack) Signal(name string, sig syscall.Signal) error { return s.children[name].signal(sig) }

// PID is the process of a child; 0 while it does not run.
func (s *Stack) PID(name string) int { return s.children[name].pid() }

// AwaitReady waits until a child answers that it is ready.
func (s *Stack) AwaitReady(ctx context.Context, name string) error {
	return s.children[name].awaitReady(ctx)
}

// Run starts everything, keeps it running until ctx ends, and stops it in reverse.
func (s *Stack) Run(ctx context.Context) error {
	for _, dir := range []string{s.cfg.Dir, s.logs(), filepath.Join(s.cfg.Dir, "provisioner")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make run directory: %w", err)
		}
	}
	unlock, err := lock(s.cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.awaitAddresses(ctx); err != nil {
		return quiet(ctx, err)
	}
	defer s.stop()
	for i, names := range [][]string{slices.Concat(ground, s.cfg.Platforms), floor, upper} {
		if i == 2 && s.cfg.BeforeUpper != nil {
			if err := s.cfg.BeforeUpper(ctx, s); err != nil {
				return quiet(ctx, err)
			}
		}
		if err := s.startAll(ctx, names); err != nil {
			return quiet(ctx, err)
		}
	}
	close(s.ready)
	<-ctx.Done()
	return nil
}

// quiet hides what fails only because the run was ended.
func quiet(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

func (s *Stack) startAll(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, name := range names {
		c := s.children[name]
		if err := c.supervise(s.cfg.Binary); err != nil {
			return err
		}
		s.mu.Lock()
		s.started = append(s.started, c)
		s.mu.Unlock()
	}
	for _, name := range names {
		if err := s.awaitStart(ctx, s.children[name], names); err != nil {
			return errors.Join(append([]error{err}, s.instanceFaults()...)...)
		}
	}
	return nil
}

// instanceFaults are what the platforms said last of an instance that does not run: nothing gets ready without instances.
func (s *Stack) instanceFaults() []error {
	var errs []error
	for _, name := range s.cfg.Platforms {
		if _, said, found := strings.Cut(s.children[name].lastLine(`msg="instance failed"`), "msg="); found {
			errs = append(errs, fmt.Errorf("%s: %s", name, said))
		}
	}
	return errs
}

// awaitStart waits until a child is ready, or until it is clear that it, or one that starts beside it, never will be.
func (s *Stack) awaitStart(ctx context.Context, c *child, beside []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				for _, name := range beside {
					if err := s.children[name].hopeless(); err != nil {
						cancel(err)
						return
					}
				}
			}
		}
	}()
	err := c.awaitReady(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, ctx.Err()) {
		return cause
	}
	return err
}

func (s *Stack) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.started) {
		c.stop()
	}
}
