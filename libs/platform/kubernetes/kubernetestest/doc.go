// Package kubernetestest gives tests an API server: a real control plane where one was built, and a small stand-in else.
//
// The real one is etcd, kube-apiserver and kube-controller-manager as processes of this machine; see
// integration/controlplane. It is used when FORESHADOW_CONTROLPLANE names its binary. The stand-in (Fake) speaks as much of
// the API as libs/platform/kubernetes uses, with resourceVersions, watches that expire and the two subresources; the tests of
// that package run on both, so that what it pretends is held against the real thing.
//
// Either is reached through Faults, which count and refuse requests as a test says.
package kubernetestest
