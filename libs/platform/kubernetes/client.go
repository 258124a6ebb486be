package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// callTimeout bounds one request to the API server.
const callTimeout = 10 * time.Second

// How long a kind that was not there is not looked for anew, which asks what the whole API server has: one that a group is of, and
// one that others may have installed.
const (
	lookForOwn    = 5 * time.Second
	lookForOthers = time.Minute
)

// Client scales the groups it was made with. It is safe for concurrent use.
type Client struct {
	cfg    Config
	groups map[string]workload.Kubernetes
	http   *http.Client
	// dynamic reads and writes any object; scales its scale subresource.
	dynamic dynamic.Interface
	scales  scale.ScalesGetter
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	looked  *lookTime
	usage   usageSource
}

// New returns a client; it does no I/O.
func New(cfg Config, groups map[string]workload.Kubernetes) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	restConfig, err := cfg.restConfig()
	if err != nil {
		return nil, err
	}
	return NewFor(restConfig, cfg, groups)
}

// NewFor returns a client of the API server that a rest.Config names.
func NewFor(restConfig *rest.Config, cfg Config, groups map[string]workload.Kubernetes) (*Client, error) {
	transport, err := rest.TransportFor(restConfig)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	if transport == http.DefaultTransport {
		transport = http.DefaultTransport.(*http.Transport).Clone() // its connections are closed with the client
	}
	httpClient := &http.Client{Transport: &gate{next: transport}}
	c := &Client{cfg: cfg, groups: groups, http: httpClient, looked: &lookTime{now: time.Now}}
	if c.dynamic, err = dynamic.NewForConfigAndClient(restConfig, httpClient); err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(restConfig, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	cached := memory.NewMemCacheClient(disco)
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(cached)
	// The scale client sets version and path with each request; the group here is only asked for.
	scaleConfig := dynamic.ConfigFor(restConfig)
	scaleConfig.GroupVersion = &schema.GroupVersion{}
	scaleREST, err := rest.RESTClientForConfigAndClient(scaleConfig, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	c.scales = scale.New(scaleREST, c.mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(cached))
	c.usage = newUsageSource(c)
	return c, nil
}

// For returns a client of other groups over the same connection: what it asks counts together with what this one does.
func (c *Client) For(groups map[string]workload.Kubernetes) *Client {
	other := *c
	other.groups = groups
	other.usage = newUsageSource(&other)
	return &other
}

// Dynamic reads and writes other objects over the same connection.
func (c *Client) Dynamic() dynamic.Interface { return c.dynamic }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// object is where a group's object is found.
type object struct {
	workload.Kubernetes
	group    string
	kind     schema.GroupVersionKind
	resource schema.GroupVersionResource
}

// find asks discovery where the object of a group is.
func (c *Client) find(ctx context.Context, group string) (object, error) {
	k, known := c.groups[group]
	if !known {
		return object{}, platform.NotFound(group)
	}
	apiVersion, kind := k.Object()
	gvk := schema.FromAPIVersionAndKind(apiVersion, kind)
	mapping, err := c.mapping(ctx, gvk, lookForOwn)
	if err != nil {
		return object{}, fmt.Errorf("find %s in the API server: %w", gvk.Kind, err)
	}
	return object{Kubernetes: k, group: group, kind: gvk, resource: mapping.Resource}, nil
}

// mapping looks a kind up, and looks anew when it was not there: it may have been installed since, or its group did not answer when
// the API server was asked. The mapper itself takes what it has heard once for good.
func (c *Client) mapping(ctx context.Context, gvk schema.GroupVersionKind, every time.Duration) (*meta.RESTMapping, error) {
	m, err := c.mapper.RESTMappingWithContext(ctx, gvk.GroupKind(), gvk.Version)
	if !meta.IsNoMatchError(err) || !c.looked.due(every) {
		return m, err
	}
	c.mapper.ResetWithContext(ctx)
	return c.mapper.RESTMappingWithContext(ctx, gvk.GroupKind(), gvk.Version)
}

// lookTime is when it was last looked anew.
type lookTime struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time
}

// due says whether that was so long ago, and notes that it is done now.
func (l *lookTime) due(every time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now().Sub(l.last) < every {
		return false
	}
	l.last = l.now()
	return true
}

func (c *Client) object(o object) dynamic.ResourceInterface {
	return c.dynamic.Resource(o.resource).Namespace(o.Namespace)
}

// explain gives an error of the API server the platform's own kind.
func explain(o object, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s %s/%s: %w: %w", o.kind.Kind, o.Namespace, o.Name, platform.ErrNotFound, err)
	case apierrors.IsConflict(err):
		return fmt.Errorf("%s %s/%s: %w: %w", o.kind.Kind, o.Namespace, o.Name, platform.ErrConflict, err)
	default:
		return fmt.Errorf("%s %s/%s: %w", o.kind.Kind, o.Namespace, o.Name, err)
	}
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}
