package kubernetes

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// Annotation holds the last change that was claimed, as JSON.
const Annotation = "foreshadow.dev/change"

// claim is what the annotation says.
type claim struct {
	// Generation, Epoch, Replicas and Size of the change.
	Generation uint64        `json:"generation"`
	Epoch      uint64        `json:"epoch,omitempty"`
	Replicas   int           `json:"replicas"`
	Size       platform.Size `json:"size,omitzero"`
	// Step counts the calls that the change was carried on with.
	Step int `json:"step,omitempty"`
	// ObjectGeneration is the object's metadata.generation once the claim was written: while it is the same, nothing was changed.
	ObjectGeneration int64 `json:"object_generation"`
	// Before is the change that was made before this one.
	Before made `json:"before"`
}

// made is a change that was carried out.
type made struct {
	Generation uint64 `json:"generation"`
	Replicas   int    `json:"replicas"`
}

// readClaim reads the annotation; an object without one has the zero claim. One that cannot be read is an error: it fences
// nothing, so that nothing may be written.
func readClaim(o *unstructured.Unstructured) (claim, error) {
	var c claim
	text := o.GetAnnotations()[Annotation]
	if text == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return c, fmt.Errorf("read annotation %s: %w", Annotation, err)
	}
	return c, nil
}

// claimedGeneration is the metadata.generation that an object has once its annotation is written. That of a Deployment grows
// with its annotations too, that of every other kind only with its spec.
func (r *reading) claimedGeneration() int64 {
	if r.isDeployment() {
		return r.body.GetGeneration() + 1
	}
	return r.body.GetGeneration()
}

func (r *reading) isDeployment() bool { return r.kind.Kind == "Deployment" && r.kind.Group == "apps" }

// pending says whether the claim was not followed by its change.
func (c claim) pending(objectGeneration int64, replicas int) bool {
	return c.ObjectGeneration == objectGeneration && replicas != c.Replicas
}

// made returns the last change that was carried out, given what the object has now.
func (c claim) made(objectGeneration int64, replicas int) made {
	if c.pending(objectGeneration, replicas) {
		return c.Before
	}
	return made{Generation: c.Generation, Replicas: c.Replicas}
}

// admit says why a change must not be made upon what was read.
func (c claim) admit(change platform.Change, last made, replicas int) error {
	switch {
	case change.Epoch < c.Epoch:
		return fmt.Errorf("%w: epoch %d leads, not %d", platform.ErrConflict, c.Epoch, change.Epoch)
	case change.Generation < c.Generation:
		return fmt.Errorf("%w: generation %d is older than %d", platform.ErrConflict, change.Generation, c.Generation)
	case change.Generation == last.Generation && change.Instances == last.Replicas && replicas == last.Replicas:
		return nil // the same change again: the answer was lost, or there is more of it to do
	case replicas != change.ObservedDesired:
		return fmt.Errorf("%w: %d are asked for, the decision was made upon %d", platform.ErrConflict, replicas, change.ObservedDesired)
	default:
		return nil
	}
}
