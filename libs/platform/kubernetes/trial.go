package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/workload"
)

const (
	// trialOfLabel marks a trial and its pods with the name of the shadow's object, trialLabel with the trial's own name. Pods are
	// selected by both alone, and have no other label, so that no Service, disruption budget or autoscaler of anybody's finds them.
	trialOfLabel = "foreshadow.dev/trial-of"
	trialLabel   = "foreshadow.dev/trial"
	// askedAnnotation of a trial is what was asked for, as JSON; renewedAnnotation when it was asked for last.
	askedAnnotation   = "foreshadow.dev/trial"
	renewedAnnotation = "foreshadow.dev/trial-renewed"
	// trialSlots is how many trials of one shadow there may be at a time. Their objects have names known beforehand, so that
	// roles can name them.
	trialSlots = 8
	// maxTrialInstances bounds those of one trial; the budget of an experiment is the tighter bound.
	maxTrialInstances = 100
	// renewEvery is the part of a lease after which a renewal is written: each write is work for the Deployment's controller.
	renewEvery = 8
)

// Trials runs variations of shadows beside them, each as a Deployment of its own in the shadow's namespace. It is safe for
// concurrent use.
//
// A trial lives as long as it is asked for, and a lease more. Keep removes those that nobody renews; it runs in each
// shadow-runner, and in the provisioner that leads, so that one is found also where a runner was killed and does not come
// back. Whoever keeps goes by its own clock: a trial is over when it was seen without a renewal for as long as its lease.
type Trials struct {
	client *Client
	// shadows are the groups of which there may be trials, production the namespaces in which there never are any.
	shadows    []string
	production map[string]bool
	log        *slog.Logger
	now        func() time.Time
	// What Keep has seen, and the groups that it may not look at.
	seen   sightings
	denied map[string]time.Time
}

// Trials returns those of the shadows that workloads have on Kubernetes; log may be nil. It does no I/O.
func (c *Client) Trials(workloads []workload.Workload, log *slog.Logger) *Trials {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t := &Trials{client: c, production: map[string]bool{}, log: log, now: time.Now, seen: sightings{}, denied: map[string]time.Time{}}
	for _, w := range workloads {
		if w.Production.Platform == Platform {
			t.production[w.Production.Kubernetes.Namespace] = true
		}
		if w.Shadow.Platform == Platform && !slices.Contains(t.shadows, w.Shadow.Group) {
			t.shadows = append(t.shadows, w.Shadow.Group)
		}
	}
	return t
}

// Try runs a trial of a shadow, or renews the lease of one that runs, and returns its state: its instances may not be ready
// yet. The error is a platform.ErrUnsupported when there can be no such trial, and a platform.ErrConflict when another one has
// its name, when it is still ending, or when there are too many.
func (t *Trials) Try(ctx context.Context, group string, ask platform.Trial) (platform.State, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	s, err := t.try(ctx, group, ask)
	if err != nil {
		return platform.State{}, fmt.Errorf("try %q of group %q: %w", ask.Name, group, err)
	}
	return s, nil
}

func (t *Trials) try(ctx context.Context, group string, ask platform.Trial) (platform.State, error) {
	if err := ask.Validate(maxTrialInstances); err != nil {
		return platform.State{}, err
	}
	shadow, err := t.shadow(ctx, group)
	if err != nil {
		return platform.State{}, err
	}
	all, err := t.client.trialsOf(ctx, shadow)
	if err != nil {
		return platform.State{}, err
	}
	body := trialNamed(all, ask.Name)
	if body == nil {
		body, err = t.begin(ctx, shadow, all, ask)
	} else {
		body, err = t.renew(ctx, shadow, body, ask)
	}
	if err != nil {
		return platform.State{}, err
	}
	r, err := t.client.readTrial(ctx, shadow, body)
	if err != nil {
		return platform.State{}, err
	}
	return r.state(), r.hindered()
}

// shadow finds the object that trials of a group are like, or says why there are none.
func (t *Trials) shadow(ctx context.Context, group string) (object, error) {
	if !slices.Contains(t.shadows, group) {
		return object{}, platform.NotFound(group)
	}
	o, err := t.client.find(ctx, group)
	switch {
	case err != nil:
		return object{}, err
	case t.production[o.Namespace]:
		return object{}, fmt.Errorf("namespace %q is production's, where no trial runs: %w", o.Namespace, platform.ErrUnsupported)
	case !(&reading{object: o}).isDeployment():
		return object{}, fmt.Errorf("there are trials of a Deployment only, and %s %s is none: %w", o.kind.Kind, o.Name, platform.ErrUnsupported)
	default:
		return o, nil
	}
}

// begin makes the object of a trial. Two that begin the same one try the same slot first, so that one of them gets it.
func (t *Trials) begin(ctx context.Context, shadow object, all []unstructured.Unstructured, ask platform.Trial) (*unstructured.Unstructured, error) {
	o, err := t.client.object(shadow).Get(ctx, shadow.Name, metav1.GetOptions{})
	if err != nil {
		return nil, explain(shadow, err)
	}
	source := (&reading{object: shadow, body: o}).template()
	if source == nil {
		return nil, fmt.Errorf("%s %s/%s has no template of its pods", shadow.kind.Kind, shadow.Namespace, shadow.Name)
	}
	if err := t.walled(ctx, shadow, source.Labels, trialLabels(shadow, ask.Name)); err != nil {
		return nil, err
	}
	want, err := trialObject(o, shadow, source, ask, t.now())
	if err != nil {
		return nil, err
	}
	slot := freeSlot(shadow, all, ask.Name)
	if slot == "" {
		return nil, fmt.Errorf("%d trials of %s are there: %w", trialSlots, shadow.Name, platform.ErrConflict)
	}
	want.SetName(slot)
	made, err := t.client.object(shadow).Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil, fmt.Errorf("%s was begun by someone else: %w: %w", slot, platform.ErrConflict, err)
	case err != nil:
		return nil, forbidden(fmt.Errorf("make %s: %w", slot, err))
	}
	t.log.Info("trial started", "group", platform.TrialGroup(shadow.group, ask.Name), "instances", ask.Instances)
	return made, nil
}

// freeSlot is a name that no trial of the shadow has, empty when there is none.
func freeSlot(shadow object, all []unstructured.Unstructured, trial string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(trial)) // it returns no error
	for i := range uint32(trialSlots) {
		name := slotName(shadow, int((h.Sum32()+i)%trialSlots))
		if !slices.ContainsFunc(all, func(o unstructured.Unstructured) bool { return o.GetName() == name }) {
			return name
		}
	}
	return ""
}

// slotName is the name of an object of a trial; the chart's roles know it, too.
func slotName(shadow object, n int) string { return fmt.Sprintf("%s-trial-%d", shadow.Name, n+1) }

// renew notes that a trial is still wanted.
func (t *Trials) renew(ctx context.Context, shadow object, body *unstructured.Unstructured, ask platform.Trial) (*unstructured.Unstructured, error) {
	if body.GetDeletionTimestamp() != nil {
		return nil, fmt.Errorf("it is still ending: %w", platform.ErrConflict)
	}
	asked, renewed, err := readAsked(body)
	if err != nil {
		return nil, err
	}
	if !asked.Same(ask) {
		return nil, fmt.Errorf("it is running as something else: %w", platform.ErrConflict)
	}
	if since := t.now().Sub(renewed); since >= 0 && since < ask.Lease/renewEvery && asked.Lease == ask.Lease {
		return body, nil
	}
	annotations, err := askedAnnotations(ask, t.now())
	if err != nil {
		return nil, err
	}
	// Its uid is named so that none is renewed that came under its name since.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": body.GetUID(), "annotations": annotations}})
	if err != nil {
		return nil, fmt.Errorf("encode renewal: %w", err)
	}
	next, err := t.client.object(shadow).Patch(ctx, body.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, forbidden(explain(shadow, err))
	}
	return next, nil
}

// EndTrial ends a trial; one that has ended is no error. It returns before its pods are gone.
func (t *Trials) EndTrial(ctx context.Context, group, trial string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	shadow, err := t.shadow(ctx, group)
	if err != nil {
		return fmt.Errorf("end trial %q of group %q: %w", trial, group, err)
	}
	all, err := t.client.trialsOf(ctx, shadow)
	if err != nil {
		return fmt.Errorf("end trial %q of group %q: %w", trial, group, err)
	}
	for i := range all {
		if all[i].GetLabels()[trialLabel] != trial || all[i].GetDeletionTimestamp() != nil {
			continue
		}
		if err := t.client.endTrial(ctx, shadow, &all[i], false); err != nil {
			return fmt.Errorf("end trial %q of group %q: %w", trial, group, err)
		}
		t.log.Info("trial ended", "group", platform.TrialGroup(group, trial))
	}
	return nil
}

// endTrial removes the object of a trial, and it stays until its pods are gone; as seen: only while it is as it was read.
func (c *Client) endTrial(ctx context.Context, shadow object, body *unstructured.Unstructured, asSeen bool) error {
	uid, version, foreground := body.GetUID(), body.GetResourceVersion(), metav1.DeletePropagationForeground
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &foreground}
	if asSeen {
		options.Preconditions.ResourceVersion = &version
	}
	if err := c.object(shadow).Delete(ctx, body.GetName(), options); err != nil && !apierrors.IsNotFound(err) {
		return forbidden(fmt.Errorf("remove %s: %w", body.GetName(), err))
	}
	return nil
}
