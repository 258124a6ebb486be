package shadowscaler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// Finalizer keeps an object until the shadow that was made for it is gone. It stands in those that have one made.
const Finalizer = Group + "/shadow"

// Attend writes the status of objects that no provisioner works with, and lets go of those that were deleted.
func (o *Objects) Attend(ctx context.Context, now time.Time) error {
	list, err := o.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list {
		if s.Going {
			errs = append(errs, o.Release(ctx, s))
			continue
		}
		errs = append(errs, o.Report(ctx, s, Status{}, now))
	}
	return errors.Join(errs...)
}

// Hold has an object stay, once it is deleted, until it is released; it must be called before anything is made for it.
func (o *Objects) Hold(ctx context.Context, s Scaler) error {
	finalizers := s.object.GetFinalizers()
	if s.Going || slices.Contains(finalizers, Finalizer) {
		return nil
	}
	return o.setFinalizers(ctx, s, append(slices.Clone(finalizers), Finalizer))
}

// Release removes what was made for an object that was deleted, and lets it go. Production is left as it is. One that is held
// by nothing of ours is left alone.
func (o *Objects) Release(ctx context.Context, s Scaler) error {
	finalizers := s.object.GetFinalizers()
	if !s.Going || !slices.Contains(finalizers, Finalizer) {
		return nil
	}
	// One that cannot be read any more had nothing made for it since: what was made before cannot be found, and must not hold it.
	if s.Err == nil {
		groups, err := kubernetes.Groups([]workload.Workload{s.Workload})
		if err != nil {
			return fmt.Errorf("release ShadowScaler %s: %w", s.Name, err)
		}
		if err := o.platform.For(groups).RemoveCopy(ctx, s.Workload.Shadow.Group); err != nil && !errors.Is(err, kubernetes.ErrNotCopy) {
			return fmt.Errorf("release ShadowScaler %s: %w", s.Name, err)
		}
	}
	kept := slices.DeleteFunc(slices.Clone(finalizers), func(f string) bool { return f == Finalizer })
	return o.setFinalizers(ctx, s, kept)
}

// setFinalizers is fenced by the version that was read.
func (o *Objects) setFinalizers(ctx context.Context, s Scaler, finalizers []string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": s.object.GetResourceVersion(), "finalizers": finalizers,
	}})
	if err != nil {
		return fmt.Errorf("encode finalizers: %w", err)
	}
	_, err = o.client.Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "foreshadow"})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("set finalizers of ShadowScaler %s: %w", s.Name, err)
	}
	return nil
}
