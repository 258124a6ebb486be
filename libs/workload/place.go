package workload

import "strings"

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
	if strings.Count(k.APIVersion, "/") > 1 {
		fault(key+".api_version", "want group/version, got %q", k.APIVersion)
	}
}
