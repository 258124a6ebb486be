// Package dockertest stands in for a Docker engine: an HTTP server that speaks the part of the Engine API (v1.51) that the
// platform uses, in the shapes that its specification gives, over containers that are HTTP servers of this process on addresses
// of their own. It is no engine: what one does beyond the API, its cgroups and networks above all, is not there.
package dockertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Version of the Engine API that it speaks.
const Version = "1.51"

// Network is the name of the one network there is.
const Network = "shop_default"

// blocks tells the engines of one process apart: each has the addresses 127.100+n/250.n%250.x of its own.
var blocks atomic.Int32

// Engine is the stand-in. Its methods are safe for concurrent use.
type Engine struct {
	// Port that every container serves on.
	Port int

	t      testing.TB
	server *httptest.Server
	block  int

	mu         sync.Mutex
	containers map[string]*Container
	order      []string // identities, as they were made
	next       int
	requests   []string
	fault      func(r *http.Request) int
	status     atomic.Int32
}

// Container is one of an engine.
type Container struct {
	engine *Engine
	body   container.InspectResponse
	server *http.Server
	served chan struct{} // closed when the server has ended

	// Handler answers its requests; 200 to all when nil.
	handler atomic.Pointer[http.HandlerFunc]
	stats   container.StatsResponse
	stopped []string // the times it was given to stop
}

// New runs an engine until the test ends.
func New(t testing.TB) *Engine {
	t.Helper()
	e := &Engine{t: t, containers: map[string]*Container{}, block: int(blocks.Add(1)), Port: 18080}
	e.server = httptest.NewServer(e.routes())
	t.Cleanup(func() {
		e.server.Close()
		for _, id := range e.ids() {
			e.kill(id, 137)
		}
	})
	return e
}

// Host is where it is reached, as DOCKER_HOST says it.
func (e *Engine) Host() string { return "tcp://" + strings.TrimPrefix(e.server.URL, "http://") }

// Inject answers requests with the status that fault returns, unless that is 0; nil ends it.
func (e *Engine) Inject(fault func(r *http.Request) int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = fault
}

// Requests returns what was asked since the last call, each as method and path without the version.
func (e *Engine) Requests() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.requests
	e.requests = nil
	return out
}

// Compose makes and starts the container of a service as Docker Compose does.
func (e *Engine) Compose(project, service string, adjust ...func(*container.Config, *container.HostConfig)) *Container {
	e.t.Helper()
	n := 1
	for _, c := range e.All() {
		if c.body.Config.Labels["com.docker.compose.service"] == service {
			n++
		}
	}
	config := &container.Config{
		Image: "shop:latest", Cmd: []string{"shop"}, Env: []string{"PORT=8080"}, Labels: map[string]string{
			"com.docker.compose.project": project, "com.docker.compose.service": service, "com.docker.compose.container-number": strconv.Itoa(n),
			"com.docker.compose.oneoff": "False", "com.docker.compose.config-hash": "5d2c",
		},
	}
	port := network.MustParsePort("8080/tcp")
	host := &container.HostConfig{
		NetworkMode: Network, Binds: []string{"/srv/shop:/data:ro"}, RestartPolicy: container.RestartPolicy{Name: "unless-stopped"},
		PortBindings: network.PortMap{port: {{HostPort: "8080"}}}, Resources: container.Resources{NanoCPUs: 5e8, Memory: 64 << 20, MemorySwap: 128 << 20},
	}
	for _, f := range adjust {
		f(config, host)
	}
	name := fmt.Sprintf("%s-%s-%d", project, service, n)
	id := e.make(name, container.CreateRequest{Config: config, HostConfig: host, NetworkingConfig: &network.NetworkingConfig{
		EndpointsConfig: map[string]*network.EndpointSettings{Network: {Aliases: []string{name, service}}},
	}})
	if err := e.startContainer(id); err != nil {
		e.t.Fatal(err)
	}
	return e.Find(name)
}

// make makes a container.
func (e *Engine) make(name string, r container.CreateRequest) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next++
	id := fmt.Sprintf("%012x%052x", 0xabc000000000+e.next, e.block)
	config := *r.Config
	if config.Hostname == "" {
		config.Hostname = id[:12]
	}
	image := config.Image
	if !strings.HasPrefix(image, "sha256:") {
		image = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	}
	networks := map[string]*network.EndpointSettings{}
	for name, given := range r.NetworkingConfig.EndpointsConfig {
		networks[name] = given.Copy()
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	c := &Container{engine: e, body: container.InspectResponse{
		ID: id, Name: "/" + name, Created: now, Image: image, Config: &config, HostConfig: r.HostConfig,
		State:           &container.State{Status: container.StateCreated, StartedAt: "0001-01-01T00:00:00Z", FinishedAt: "0001-01-01T00:00:00Z"},
		NetworkSettings: &container.NetworkSettings{Networks: networks},
	}}
	c.stats.MemoryStats = container.MemoryStats{Usage: 30 << 20, Limit: 64 << 20, Stats: map[string]uint64{"inactive_file": 10 << 20}}
	e.containers[id] = c
	e.order = append(e.order, id)
	return id
}

// startContainer has a container serve on an address of its own.
func (e *Engine) startContainer(id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.containers[id]
	if c.body.State.Running {
		return nil
	}
	e.next++
	ip := netip.AddrFrom4([4]byte{127, byte(100 + e.block/250), byte(e.block % 250), byte(1 + e.next%250)})
	ln, err := net.Listen("tcp", netip.AddrPortFrom(ip, uint16(e.Port)).String())
	if err != nil {
		return err
	}
	for _, n := range c.body.NetworkSettings.Networks {
		n.IPAddress = ip
	}
	c.body.State.Status, c.body.State.Running, c.body.State.StartedAt = container.StateRunning, true, time.Now().UTC().Format(time.RFC3339Nano)
	c.stats.CPUStats.CPUUsage.TotalUsage = 1e6
	c.server, c.served = &http.Server{Handler: http.HandlerFunc(c.serve), ReadHeaderTimeout: time.Second}, make(chan struct{})
	go func(server *http.Server, served chan struct{}) {
		defer close(served)
		_ = server.Serve(ln) // it is closed when the container ends
	}(c.server, c.served)
	return nil
}

func (c *Container) serve(w http.ResponseWriter, r *http.Request) {
	if h := c.handler.Load(); h != nil {
		(*h)(w, r)
	} else if s := c.engine.status.Load(); s != 0 {
		w.WriteHeader(int(s))
	}
}

// kill ends a container with an exit code.
func (e *Engine) kill(id string, code int) {
	e.mu.Lock()
	c := e.containers[id]
	if c == nil || !c.body.State.Running {
		e.mu.Unlock()
		return
	}
	server, served := c.server, c.served
	c.body.State.Status, c.body.State.Running, c.body.State.ExitCode = container.StateExited, false, code
	c.body.State.FinishedAt = time.Now().UTC().Format(time.RFC3339Nano)
	for _, n := range c.body.NetworkSettings.Networks {
		n.IPAddress = netip.Addr{}
	}
	e.mu.Unlock()
	_ = server.Close()
	<-served
}

// Crash ends a container as if by itself.
func (c *Container) Crash() { c.engine.kill(c.body.ID, 1) }

// Answer has the container answer with a status from now on.
func (c *Container) Answer(status int) {
	c.Handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// Handle has the container answer by a function from now on.
func (c *Container) Handle(h http.HandlerFunc) { c.handler.Store(&h) }

// Answer has all containers that were not told otherwise answer with a status from now on.
func (e *Engine) Answer(status int) { e.status.Store(int32(status)) } // #nosec G115: three digits

// Remove removes a container as `docker rm -f` does.
func (c *Container) Remove() { c.engine.removeContainer(c.body.ID) }

// Inspect is what the engine says of it.
func (c *Container) Inspect() container.InspectResponse {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	return c.copy()
}

// Stops are the times that it was given to stop, in seconds.
func (c *Container) Stops() []string {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	return slices.Clone(c.stopped)
}

// Use sets what it has used: CPU in seconds, memory in bytes beside 10 MiB of file pages, and bytes received and sent.
func (c *Container) Use(cpu float64, memory, received, sent uint64) {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	c.stats.CPUStats.CPUUsage.TotalUsage = uint64(cpu * 1e9)
	c.stats.MemoryStats.Usage = memory + 10<<20
	c.stats.Networks = map[string]container.NetworkStats{"eth0": {RxBytes: received, TxBytes: sent}}
}

// SetHealth is what the container's own health check says.
func (c *Container) SetHealth(status container.HealthStatus) {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	c.body.State.Health = &container.Health{Status: status}
}

// copy is a body that does not change any more. The caller holds mu.
func (c *Container) copy() container.InspectResponse {
	data, err := json.Marshal(c.body)
	if err != nil {
		panic(err) // it was made of JSON
	}
	var out container.InspectResponse
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	return out
}

func (e *Engine) removeContainer(id string) {
	e.kill(id, 137)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.containers, id)
	e.order = slices.DeleteFunc(e.order, func(other string) bool { return other == id })
}

func (e *Engine) ids() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.order)
}

// All are the containers there are, as they were made.
func (e *Engine) All() []*Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*Container
	for _, id := range e.order {
		out = append(out, e.containers[id])
	}
	return out
}

// Find returns the container of a name, nil when there is none.
func (e *Engine) Find(name string) *Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		if c.body.Name == "/"+name {
			return c
		}
	}
	return nil
}

// has says whether a container has the labels that a filter names. The caller holds mu.
func (c *Container) has(labels map[string]bool) bool {
	for want := range maps.Keys(labels) {
		name, value, _ := strings.Cut(want, "=")
		if c.body.Config.Labels[name] != value {
			return false
		}
	}
	return true
}
