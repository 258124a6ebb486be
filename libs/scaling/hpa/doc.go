// Package hpa is the Kubernetes Horizontal Pod Autoscaler's arithmetic (v1.37 semantics), without Kubernetes.
//
// It answers "how many replicas would the HPA hold?" so that Foreshadow can promise never to be worse than it, show it
// as the alternative beside every recommendation, and be compared with it in the simulator.
//
//	pods and metrics --> Calculator.Replicas --> the metric's wish
//	                                                 |
//	  History --> Rules.Normalize (clamp, stabilise, limit the rate) --> replicas, History
//
// Calculator is stateless. Normalize is a pure function of (History, wish, time): it returns a new History and never
// changes the one it was given. Both reproduce the controller's integer truncations and its one event-memory quirk, and
// are held to vectors recorded from the unmodified controller (see testdata/README.md).
//
// Not covered: merging several metrics (take the largest wish), object metrics, scaling from zero.
//
// Source of the semantics: kubernetes/kubernetes, pkg/controller/podautoscaler (replica_calculator.go, horizontal.go).
package hpa
