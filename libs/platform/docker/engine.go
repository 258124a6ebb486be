package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// callTimeout bounds one request to the engine; a stop takes the time to drain besides.
const callTimeout = 10 * time.Second

// engine asks a Docker engine. Its types are those of the Engine API and stop at this package.
type engine struct{ client *client.Client }

func newEngine(cfg AgentConfig) (*engine, error) {
	options := []client.Opt{client.WithHost(cfg.Engine), client.WithUserAgent("foreshadow")}
	if cfg.TLS.CA != "" || cfg.TLS.Certificate != "" {
		options = append(options, client.WithTLSClientConfig(cfg.TLS.CA, cfg.TLS.Certificate, cfg.TLS.Key))
	}
	c, err := client.New(options...)
	if err != nil {
		return nil, fmt.Errorf("make client of the engine: %w", err)
	}
	return &engine{client: c}, nil
}

func (e *engine) close() { _ = e.client.Close() }

// list returns the containers that have all labels, whatever their state.
func (e *engine) list(ctx context.Context, labels map[string]string) ([]container.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	filters := client.Filters{}
	for name, value := range labels {
		filters.Add("label", name+"="+value)
	}
	l, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return l.Items, nil
}

// inspect returns all there is to know of a container; the error is a platform.ErrNotFound when it is gone.
func (e *engine) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	switch {
	case errdefs.IsNotFound(err):
		return container.InspectResponse{}, platform.ErrNotFound
	case err != nil:
		return container.InspectResponse{}, fmt.Errorf("inspect container %s: %w", short(id), err)
	case c.Container.State == nil || c.Container.Config == nil || c.Container.HostConfig == nil || c.Container.NetworkSettings == nil:
		return container.InspectResponse{}, fmt.Errorf("inspect container %s: the answer lacks what a container has", short(id))
	}
	return c.Container, nil
}

func (e *engine) start(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := e.client.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("start container %s: %w", short(id), err)
	}
	return nil
}

// stop tells a container to end, and kills it when it has not within a time. One that is gone is no error.
func (e *engine) stop(ctx context.Context, id string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within+callTimeout)
	defer cancel()
	seconds := int(within.Round(time.Second) / time.Second)
	if _, err := e.client.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("stop container %s: %w", short(id), err)
	}
	return nil
}

// remove removes a container and the unnamed volumes that were made with it. One that is gone is no error.
func (e *engine) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := e.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true, Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", short(id), err)
	}
	return nil
}

// resize changes what a running container is given.
func (e *engine) resize(ctx context.Context, c container.InspectResponse, size platform.Size) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r := container.Resources{}
	setSize(&r, c.HostConfig.Resources, size)
	// A restart policy without a name leaves the container's as it is.
	if _, err := e.client.ContainerUpdate(ctx, c.ID, client.ContainerUpdateOptions{Resources: &r}); err != nil {
		return fmt.Errorf("resize container %s: %w", short(c.ID), err)
	}
	return nil
}

// usage reads what a container has used since it was started.
func (e *engine) usage(ctx context.Context, id string) (platform.Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := e.client.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if errdefs.IsNotFound(err) {
		return platform.Usage{}, platform.ErrNotFound
	}
	if err != nil {
		return platform.Usage{}, fmt.Errorf("read usage of container %s: %w", short(id), err)
	}
	defer func() { _ = answer.Body.Close() }()
	var s container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return platform.Usage{}, fmt.Errorf("read usage of container %s: %w", short(id), err)
	}
	if s.Read.IsZero() || s.CPUStats.CPUUsage.TotalUsage == 0 {
		return platform.Usage{}, platform.ErrNotFound // it has ended: the engine then answers with zeros
	}
	u := platform.Usage{Time: s.Read, CPUSeconds: float64(s.CPUStats.CPUUsage.TotalUsage) / 1e9, MemoryBytes: resident(s.MemoryStats)}
	for _, n := range s.Networks {
		u.ReceivedBytes += n.RxBytes
		u.TransmittedBytes += n.TxBytes
	}
	return u, nil
}

// resident is the memory that cannot be had back without harm: without the file pages that were not used lately, as `docker
// stats` shows it. They are called one or the other by the two versions of control groups.
func resident(m container.MemoryStats) uint64 {
	for _, key := range []string{"total_inactive_file", "inactive_file"} {
		if v, known := m.Stats[key]; known && v < m.Usage {
			return m.Usage - v
		}
	}
	return m.Usage
}

// sizeOf is what a container is given; 0 = not bounded.
func sizeOf(r container.Resources) platform.Size {
	s := platform.Size{CPUCores: float64(r.NanoCPUs) / 1e9, MemoryBytes: r.Memory}
	if r.NanoCPUs == 0 && r.CPUQuota > 0 {
		s.CPUCores = float64(r.CPUQuota) / float64(period(r))
	}
	return s
}

func period(r container.Resources) int64 {
	if r.CPUPeriod > 0 {
		return r.CPUPeriod
	}
	return 100_000 // the kernel's, in microseconds
}

// setSize puts a size into r, in the way that old says it: the engine refuses to mix cores and quota. Swap stays as much as it
// was; the engine would refuse a memory limit above that of memory and swap together.
func setSize(r *container.Resources, old container.Resources, size platform.Size) {
	if size.CPUCores > 0 {
		if old.NanoCPUs == 0 && old.CPUQuota > 0 {
			r.CPUPeriod, r.CPUQuota = period(old), int64(size.CPUCores*float64(period(old)))
		} else {
			r.NanoCPUs = int64(size.CPUCores * 1e9)
		}
	}
	if size.MemoryBytes > 0 {
		r.Memory = size.MemoryBytes
		switch {
		case old.MemorySwap < 0:
			r.MemorySwap = -1
		case old.MemorySwap >= old.Memory && old.Memory > 0:
			r.MemorySwap = size.MemoryBytes + old.MemorySwap - old.Memory
		default:
			r.MemorySwap = 2 * size.MemoryBytes // the engine's own default
		}
		if old.MemoryReservation > size.MemoryBytes {
			r.MemoryReservation = size.MemoryBytes
		}
	}
}

// address is where a container is reached over a network; empty when it is not attached to it. Without a name it must be on
// one network only.
func address(c container.InspectResponse, d workload.Docker) (string, error) {
	networks := c.NetworkSettings.Networks
	if d.Network == "" && len(networks) != 1 {
		var names []string
		for name := range networks {
			names = append(names, name)
		}
		slices.Sort(names)
		return "", fmt.Errorf("container %s is on the networks [%s]: say with docker.network over which its instances are reached", strings.TrimPrefix(c.Name, "/"), strings.Join(names, " "))
	}
	for name, n := range networks {
		if n == nil || d.Network != "" && name != d.Network || n.IPAddress == (netip.Addr{}) {
			continue
		}
		return net.JoinHostPort(n.IPAddress.String(), strconv.Itoa(d.Port)), nil
	}
	return "", nil
}

func short(id string) string { return id[:min(12, len(id))] }
