package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foreshadow/foreshadow/libs/platform"
)

const (
	// conflictTries is how often a change is tried while the object's own controller writes beside it: it updates the status
	// when a pod comes or goes, and each update is a new version.
	conflictTries = 8
	conflictWait  = 50 * time.Millisecond
)

// Scale asks for another number of instances, or for another size of each, and returns the state after the change was
// accepted, which is before it is carried out. A change of sizes takes several calls: each carries it one step on, and is
// the same change as long as generation and target are the same. The error is a platform.ErrConflict when the change was
// fenced off and a platform.ErrNotFound when there is no such object; after any other error the change may or may not have
// been accepted.
func (c *Client) Scale(ctx context.Context, group string, change platform.Change) (platform.State, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	for try := 1; ; try++ {
		s, err := c.scale(ctx, group, change)
		// What the API server refuses for its version is read anew, and judged anew: it is no conflict of decisions yet.
		if !apierrors.IsConflict(errors.Unwrap(err)) && !apierrors.IsConflict(err) || try == conflictTries {
			if err != nil {
				return platform.State{}, fmt.Errorf("scale group %q to %d: %w", group, change.Instances, err)
			}
			return s, nil
		}
		select {
		case <-time.After(time.Duration(try) * conflictWait):
		case <-ctx.Done():
			return platform.State{}, fmt.Errorf("scale group %q to %d: %w", group, change.Instances, err)
		}
	}
}

func (c *Client) scale(ctx context.Context, group string, change platform.Change) (platform.State, error) {
	if change.Instances < 0 || change.Instances > math.MaxInt32 {
		return platform.State{}, fmt.Errorf("%d instances is not a size", change.Instances)
	}
	r, err := c.read(ctx, group)
	if err != nil {
		return platform.State{}, err
	}
	if err := r.claim.admit(change, r.last, r.replicas); err != nil {
		return platform.State{}, err
	}
	if err := c.claim(ctx, r, change); err != nil {
		return platform.State{}, explain(r.object, err)
	}
	if err := c.resize(ctx, r, change.Size); err != nil {
		return platform.State{}, explain(r.object, err)
	}
	if change.Instances != r.replicas {
		if err := c.setReplicas(ctx, r, change.Instances); err != nil {
			return platform.State{}, explain(r.object, err)
		}
	}
	return c.State(ctx, group)
}

// claim writes the change into the object. After it the object has the version that this change goes on from. It is written
// at each step of a change, so that none goes on upon what was read before another leader came.
func (c *Client) claim(ctx context.Context, r *reading, change platform.Change) error {
	next := claim{
		Generation: change.Generation, Epoch: change.Epoch, Replicas: change.Instances, Size: change.Size,
		ObjectGeneration: r.claimedGeneration(), Before: r.last,
	}
	if again := r.claim; again.Generation == next.Generation && again.Replicas == next.Replicas && r.last.Generation == next.Generation {
		next.ObjectGeneration, next.Before, next.Step = again.ObjectGeneration, again.Before, again.Step+1
	}
	return c.writeClaim(ctx, r, next)
}

func (c *Client) writeClaim(ctx context.Context, r *reading, next claim) error {
	text, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode claim: %w", err)
	}
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{Annotation: string(text)}}}
	if err := c.patchOnce(ctx, r, types.MergePatchType, patch); err != nil {
		return err
	}
	r.written = &next
	return nil
}

// patchObject merges a change into the object, fenced by the version that was read, and goes on from its new version.
func (c *Client) patchObject(ctx context.Context, r *reading, kind types.PatchType, patch map[string]any) error {
	return c.fenced(ctx, r, func() error { return c.patchOnce(ctx, r, kind, patch) })
}

func (c *Client) patchOnce(ctx context.Context, r *reading, kind types.PatchType, patch map[string]any) error {
	metadata, _ := patch["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		patch["metadata"] = metadata
	}
	metadata["resourceVersion"] = r.body.GetResourceVersion()
	data, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	body, err := c.object(r.object).Patch(ctx, r.Name, kind, data, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return err
	}
	r.body = body
	return nil
}

// fenced makes a write that follows a claim. The object's own controller answers each change of a Deployment, the claim
// itself included, with one of its status, which outdates the version that was read. As long as the claim is the one that was
// written, and the spec is as it was, nobody else has come, and the write goes on from the newer version.
func (c *Client) fenced(ctx context.Context, r *reading, write func() error) error {
	for try := 1; ; try++ {
		err := write()
		if !apierrors.IsConflict(err) || r.written == nil || try == conflictTries {
			return err
		}
		body, getErr := c.object(r.object).Get(ctx, r.Name, metav1.GetOptions{})
		if getErr != nil {
			return getErr
		}
		if now, readErr := readClaim(body); readErr != nil || now != *r.written || body.GetGeneration() != r.body.GetGeneration() {
			return err
		}
		r.body = body
	}
}

// fieldManager is who the API server says has written.
const fieldManager = "foreshadow"

// setReplicas writes the scale subresource, fenced by the version that the claim left behind.
func (c *Client) setReplicas(ctx context.Context, r *reading, replicas int) error {
	if replicas < r.replicas {
		if err := c.markCheapest(ctx, r, r.replicas-replicas); err != nil {
			return err
		}
	}
	s := r.scale.DeepCopy()
	s.Spec.Replicas = int32(replicas) // #nosec G115: bounded by scale
	return c.fenced(ctx, r, func() error {
		s.ResourceVersion = r.body.GetResourceVersion()
		_, err := c.scales.Scales(r.Namespace).Update(ctx, r.resource.GroupResource(), s, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
}
