package kubernetes

import (
	"context"
	"fmt"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// trialsOf lists the trials of a shadow, those that are ending included.
func (c *Client) trialsOf(ctx context.Context, shadow object) ([]unstructured.Unstructured, error) {
	list, err := c.object(shadow).List(ctx, metav1.ListOptions{LabelSelector: trialOfLabel + "=" + shadow.Name})
	if err != nil {
		return nil, forbidden(fmt.Errorf("list the trials of %s %s/%s: %w", shadow.kind.Kind, shadow.Namespace, shadow.Name, err))
	}
	return list.Items, nil
}

// trialNamed prefers one that is ending: another one of its name would be given its pods.
func trialNamed(all []unstructured.Unstructured, name string) *unstructured.Unstructured {
	var found *unstructured.Unstructured
	for i := range all {
		if all[i].GetLabels()[trialLabel] == name && (found == nil || all[i].GetDeletionTimestamp() != nil) {
			found = &all[i]
		}
	}
	return found
}

// readTrial reads the pods of a trial. Its number of instances is never changed, so that its scale is what its object says.
func (c *Client) readTrial(ctx context.Context, shadow object, body *unstructured.Unstructured) (*reading, error) {
	trial := shadow
	trial.Name, trial.group = body.GetName(), platform.TrialGroup(shadow.group, body.GetLabels()[trialLabel])
	r := &reading{object: trial, body: body, scale: &autoscalingv1.Scale{}}
	r.scale.Status.Selector = labels.SelectorFromSet(trialLabels(shadow, body.GetLabels()[trialLabel])).String()
	replicas, _, _ := unstructured.NestedInt64(body.Object, "spec", "replicas")
	r.replicas = int(replicas)
	if err := c.readPods(ctx, r); err != nil {
		return nil, explain(trial, err)
	}
	return r, nil
}

// readTrialGroup reads the group that a trial forms.
func (c *Client) readTrialGroup(ctx context.Context, group, trial string) (*reading, error) {
	shadow, err := c.find(ctx, group)
	if err != nil {
		return nil, err
	}
	all, err := c.trialsOf(ctx, shadow)
	if err != nil {
		return nil, err
	}
	if body := trialNamed(all, trial); body != nil {
		return c.readTrial(ctx, shadow, body)
	}
	return nil, platform.NotFound(platform.TrialGroup(group, trial))
}

// hindered says what keeps the pods of a trial from being made: a quota, or an admission of the cluster's.
func (r *reading) hindered() error {
	conditions, _, _ := unstructured.NestedSlice(r.body.Object, "status", "conditions")
	for _, v := range conditions {
		if c, isMap := v.(map[string]any); isMap && c["type"] == "ReplicaFailure" && c["status"] == "True" {
			return fmt.Errorf("%d of %d instances were made: %v", len(r.pods), r.replicas, c["message"])
		}
	}
	return nil
}

// forbidden tells what this process has no right to do from what failed: no use to try that again. A quota says the same.
func forbidden(err error) error {
	if apierrors.IsForbidden(err) && !strings.Contains(err.Error(), "exceeded quota") {
		return fmt.Errorf("%w: %w", platform.ErrUnsupported, err)
	}
	return err
}
