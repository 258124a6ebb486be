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

// Hold has an object stay, once it is deleted, until it is released; it must be called before anything is made for it. It
// removes the copies of earlier specs; one that cannot be removed keeps nothing up, and stands in the status.
func (o *Objects) Hold(ctx context.Context, s Scaler) error {
	if s.Going || s.place() == "" {
		return nil
	}
	kept, err := o.dropLeft(ctx, s)
	if err != nil {
		return err
	}
	kept = append(kept, s.place())
	finalizers := s.object.GetFinalizers()
	held := slices.Contains(finalizers, Finalizer)
	if held && slices.Equal(copies(s.object), kept) {
		return nil
	}
	if !held {
		finalizers = append(slices.Clone(finalizers), Finalizer)
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode copies: %w", err)
	}
	return o.setFinalizers(ctx, s, finalizers, string(text))
}

// Release removes what was made for an object that was deleted, and lets it go. Production is left as it is. One that is held
// by nothing of ours is left alone.
func (o *Objects) Release(ctx context.Context, s Scaler) error {
	finalizers := s.object.GetFinalizers()
	if !s.Going || !slices.Contains(finalizers, Finalizer) {
		return nil
	}
	made := copies(s.object)
	if k := s.Workload.Shadow.Kubernetes; len(made) == 0 && s.Err == nil { // held by a provisioner that kept no list
		made = []string{k.Namespace + "/" + k.Name}
	}
	var errs []error
	for _, place := range made {
		errs = append(errs, o.removeCopy(ctx, place))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("release ShadowScaler %s: %w", s.Name, err)
	}
	kept := slices.DeleteFunc(slices.Clone(finalizers), func(f string) bool { return f == Finalizer })
	return o.setFinalizers(ctx, s, kept, nil)
}

// setFinalizers is fenced by the version that was read. copies is what the annotation is to say; nil removes it.
func (o *Objects) setFinalizers(ctx context.Context, s Scaler, finalizers []string, copies any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": s.object.GetResourceVersion(), "finalizers": finalizers, "annotations": map[string]any{copiesAnnotation: copies},
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
