package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// Fence makes a group refuse changes of older epochs from now on. The object itself does by its annotation. Its pods and its
// ReplicaSet, which a change writes to as well, are touched, so that what an older leader has read of them is outdated.
func (c *Client) Fence(ctx context.Context, group string, epoch uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	var err error
	for range conflictTries {
		if err = c.fence(ctx, group, epoch); !apierrors.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("fence group %q: %w", group, err)
	}
	return nil
}

func (c *Client) fence(ctx context.Context, group string, epoch uint64) error {
	o, err := c.find(ctx, group)
	if err != nil {
		return err
	}
	r := &reading{object: o}
	if err := c.readObject(ctx, r); err != nil {
		return explain(o, err)
	}
	before := r.claim
	switch {
	case before.Epoch > epoch:
		return fmt.Errorf("%w: epoch %d leads, not %d", platform.ErrConflict, before.Epoch, epoch)
	case before.Epoch < epoch:
		next := before
		if next.pending(r.body.GetGeneration(), r.replicas) {
			next.ObjectGeneration = r.claimedGeneration()
		}
		next.Epoch = epoch
		if err := c.writeClaim(ctx, r, next); err != nil {
			return err
		}
	}
	if before.Epoch == 0 {
		return nil // nobody has led here before
	}
	// Read after the object was fenced: what an older leader makes of it from here on is refused.
	if err := c.readPods(ctx, r); err != nil {
		return err
	}
	for i := range r.pods {
		if err := c.touch(ctx, r, podResource, r.pods[i].Name, epoch); err != nil {
			return err
		}
	}
	if !r.isDeployment() {
		return nil
	}
	set, err := c.currentReplicaSet(ctx, r)
	if err != nil {
		return err
	}
	if set != nil {
		if err := c.touch(ctx, r, replicaSetResource, set.GetName(), epoch); err != nil {
			return err
		}
	}
	if r.paused() {
		return c.agree(ctx, r, r.claim.Size) // the older leader was stopped within it
	}
	return nil
}

// touch gives an object another version.
func (c *Client) touch(ctx context.Context, r *reading, resource schema.GroupVersionResource, name string, epoch uint64) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{epochAnnotation: strconv.FormatUint(epoch, 10)}}})
	if err != nil {
		return fmt.Errorf("encode epoch: %w", err)
	}
	_, err = c.dynamic.Resource(resource).Namespace(r.Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
