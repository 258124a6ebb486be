package docker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	// groupLabel marks the containers that were made here, with the name of their group.
	groupLabel = "foreshadow.dev/group"
	// The labels of Docker Compose that name its containers.
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	composeNumber  = "com.docker.compose.container-number"
	// nameTries bounds how many names are tried: others are taken by containers that have none of the group's labels.
	nameTries = 20
)

// clone says how a further instance is made like the template.
func clone(template container.InspectResponse, group string, size platform.Size) (client.ContainerCreateOptions, error) {
	if m := template.HostConfig.NetworkMode; m.IsContainer() || m.IsHost() || m.IsNone() {
		return client.ContainerCreateOptions{}, fmt.Errorf("the template has the network of %q, and no address of its own: %w", m, platform.ErrUnsupported)
	}
	config, host := *template.Config, *template.HostConfig
	// The same bits, even when the name of the image means others by now.
	config.Image = template.Image
	if strings.HasPrefix(template.ID, config.Hostname) {
		config.Hostname = "" // the engine's choice for the template
	}
	config.Labels = maps.Clone(template.Config.Labels)
	if config.Labels == nil {
		config.Labels = map[string]string{}
	}
	config.Labels[groupLabel] = group
	host.PortBindings, host.PublishAllPorts, host.ContainerIDFile = nil, false, ""
	setSize(&host.Resources, template.HostConfig.Resources, size)
	endpoints := map[string]*network.EndpointSettings{}
	for name, n := range template.NetworkSettings.Networks {
		e := &network.EndpointSettings{}
		if n != nil {
			e.Links, e.DriverOpts, e.GwPriority = n.Links, n.DriverOpts, n.GwPriority
			for _, alias := range n.Aliases {
				// What names the template alone is not passed on.
				if alias != strings.TrimPrefix(template.Name, "/") && !strings.HasPrefix(template.ID, alias) {
					e.Aliases = append(e.Aliases, alias)
				}
			}
		}
		endpoints[name] = e
	}
	return client.ContainerCreateOptions{
		Config: &config, HostConfig: &host, NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: endpoints},
	}, nil
}

// nameOf is that of the n-th instance: as Compose would name it, where the template is Compose's.
func nameOf(template container.InspectResponse, n int) string {
	if l := template.Config.Labels; l[composeProject] != "" && l[composeService] != "" {
		return fmt.Sprintf("%s-%s-%d", l[composeProject], l[composeService], n)
	}
	return fmt.Sprintf("%s-%d", strings.TrimPrefix(template.Name, "/"), n)
}

// order is one of an instance: like another container, for a group and of a size. Its name has the first number from first on
// that is not among those taken.
type order struct {
	like  container.InspectResponse
	group string
	size  platform.Size
	first int
	taken []string
}

// create makes an instance and starts it. It returns the container's identity; one that could not be started is removed.
func (e *engine) create(ctx context.Context, o order) (string, error) {
	options, err := clone(o.like, o.group, o.size)
	if err != nil {
		return "", err
	}
	for n, tries := o.first, 0; tries < nameTries; n++ {
		name := nameOf(o.like, n)
		if slices.Contains(o.taken, name) {
			continue
		}
		tries++
		options.Name = name
		if options.Config.Labels[composeNumber] != "" {
			options.Config.Labels[composeNumber] = strconv.Itoa(n)
		}
		id, err := e.createNamed(ctx, options)
		if errdefs.IsConflict(err) {
			continue // somebody else's container has that name
		}
		return id, err
	}
	return "", fmt.Errorf("create an instance of %s: every name tried is taken", strings.TrimPrefix(o.like.Name, "/"))
}

func (e *engine) createNamed(ctx context.Context, options client.ContainerCreateOptions) (string, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	made, err := e.client.ContainerCreate(call, options)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", options.Name, err)
	}
	if err := e.start(ctx, made.ID); err != nil {
		if gone := e.remove(context.WithoutCancel(ctx), made.ID); gone != nil {
			return "", fmt.Errorf("%w; and %w", err, gone)
		}
		return "", err
	}
	return made.ID, nil
}
