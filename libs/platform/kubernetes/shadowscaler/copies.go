package shadowscaler

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// copiesAnnotation lists where copies were made for an object, as JSON: when its shadow is called otherwise, or is to be
// somewhere else, nothing else knows of the one before.
const copiesAnnotation = Group + "/copies"

// copies are those that were made for an object, each as namespace/name.
func copies(o *unstructured.Unstructured) []string {
	var out []string
	// One that somebody has spoilt names none: nothing is removed upon it.
	if json.Unmarshal([]byte(o.GetAnnotations()[copiesAnnotation]), &out) != nil {
		return nil
	}
	return out
}

// place is where an object has its copy now; empty when it has none, or cannot be read.
func (s Scaler) place() string {
	k := s.Workload.Shadow.Kubernetes
	if s.Err != nil || !k.Copy.Enabled {
		return ""
	}
	return k.Namespace + "/" + k.Name
}

// left are the copies of earlier specs that are still there, as far as is known. Those of one that cannot be read are not.
func (s Scaler) left() []string {
	if s.place() == "" {
		return nil
	}
	return slices.DeleteFunc(copies(s.object), func(p string) bool { return p == s.place() })
}

// dropLeft removes them, and returns those that could not be removed. One that is another object's by now is not this one's.
func (o *Objects) dropLeft(ctx context.Context, s Scaler) ([]string, error) {
	left := s.left()
	if len(left) == 0 {
		return nil, nil
	}
	all, err := o.List(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(left, func(p string) bool {
		taken := slices.ContainsFunc(all, func(other Scaler) bool { return other.Name != s.Name && other.place() == p })
		return taken || o.removeCopy(ctx, p) == nil
	}), nil
}

// removeCopy removes the copy at a place; what is gone, or is none, is no error.
func (o *Objects) removeCopy(ctx context.Context, place string) error {
	const group = "copy"
	namespace, name, _ := strings.Cut(place, "/")
	at := o.platform.For(map[string]workload.Kubernetes{group: {Namespace: namespace, Name: name}})
	if err := at.RemoveCopy(ctx, group); err != nil && !errors.Is(err, kubernetes.ErrNotCopy) {
		return err
	}
	return nil
}
