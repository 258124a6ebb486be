package workload

import (
	"net"
	"strings"
)

// Names of the platforms that a Target may be on.
const (
	PlatformLocal      = "local"
	PlatformKubernetes = "kubernetes"
)

// Kubernetes is an object with a scale subresource: a Deployment, a StatefulSet, an Argo Rollout, any CustomResource.
type Kubernetes struct {
	// Namespace of the object.
	Namespace string `yaml:"namespace"`
	// APIVersion and Kind of the object; apps/v1 and Deployment when empty.
	APIVersion string `yaml:"api_version"`
	// Kind of the object.
	Kind string `yaml:"kind"`
	// Name of the object.
	Name string `yaml:"name"`
	// Container that serves requests, and whose CPU and memory are changed; the first one when empty.
	Container string `yaml:"container"`
	// Port that it serves on.
	Port int `yaml:"port"`
	// Copy has a shadow made as an isolated copy of production.
	Copy Copy `yaml:"copy"`
}

// Copy says how a shadow is made of production, in a namespace of its own: the image and the resources are the same, nothing
// of production's secrets, and the network is closed but for what is allowed. It is only for Deployments.
type Copy struct {
	// Enabled: the copy is made when it is missing, and follows production's template.
	Enabled bool `yaml:"enabled"`
	// Env sets environment variables of the container that serves.
	Env map[string]string `yaml:"env"`
	// Secrets maps a secret that production refers to to the one in the shadow's namespace that stands in for it. References to
	// any other secret are left out.
	Secrets map[string]string `yaml:"secrets"`
	// AllowEgress are networks, 10.1.2.0/24 for example, that the shadow may reach besides itself and DNS.
	AllowEgress []string `yaml:"allow_egress"`
	// AllowFrom are the namespaces whose pods may send requests to the shadow: that of the shadow-runner above all.
	AllowFrom []string `yaml:"allow_from"`
}

// Object returns the object with its defaults filled in.
func (k Kubernetes) Object() (apiVersion, kind string) {
	apiVersion, kind = k.APIVersion, k.Kind
	if kind == "" {
		kind = "Deployment"
	}
	if apiVersion == "" {
		apiVersion = "apps/v1"
	}
	return apiVersion, kind
}

func (k Kubernetes) validate(key string, fault faultFunc) {
	for name, value := range map[string]string{"namespace": k.Namespace, "name": k.Name} {
		if value == "" || strings.ContainsAny(value, "/ ") {
			fault(key+"."+name, "want the name of an object, got %q", value)
		}
	}
	if k.Port < 1 || k.Port > 65535 {
		fault(key+".port", "want the port that the container serves on, got %d", k.Port)
	}
	for _, c := range k.Copy.AllowEgress {
		if _, _, err := net.ParseCIDR(c); err != nil {
			fault(key+".copy.allow_egress", "want a network like 10.1.2.0/24, got %q", c)
		}
	}
	if strings.Count(k.APIVersion, "/") > 1 {
		fault(key+".api_version", "want group/version, got %q", k.APIVersion)
	}
}
