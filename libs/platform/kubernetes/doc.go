// Package kubernetes scales any object that has a scale subresource: Deployments, StatefulSets, Argo Rollouts, custom
// resources. It knows none of them by name: discovery says where they are, the scale subresource says how many pods are
// wanted and which they are.
//
//	State   object + scale + pods           who asked last stands in an annotation of the object
//	Scale   claim ──▶ sizes ──▶ replicas    each write carries the resourceVersion of what was read before it
//	Watch   wakes up on events of the pods, and reads the state anew
//
// A change is claimed before it is made: one write puts its generation, its epoch and its target into the annotation
// foreshadow.dev/change. The write is refused by the API server when anything about the object has changed since it was
// read, and not tried when the annotation is of a newer generation or epoch. So of two provisioners that both believe to
// lead only one gets through, and after a crash between claim and change the object itself says that the change is missing:
// its metadata.generation is still the one that was claimed.
//
// A trial of an experiment is a Deployment of its own beside the shadow's: see Trials. It has no other labels than Foreshadow's,
// is behind every wall that the shadow is behind, and lives by a lease in an annotation.
//
// An API server that is away, or says that it is overloaded, is asked once a second, whoever asks; see gate.
package kubernetes
