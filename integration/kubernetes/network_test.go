package kubernetes_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// network is the policies and pods of a rendered chart, all in one namespace.
type network struct {
	policies []networkingv1.NetworkPolicy
	pods     map[string]labels.Set // by the name of their Deployment
}

func newNetwork(t *testing.T, file string) network {
	t.Helper()
	n := network{pods: map[string]labels.Set{}}
	for _, o := range objects(t, file) {
		switch o.GetKind() {
		case "NetworkPolicy":
			var p networkingv1.NetworkPolicy
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
				t.Fatal(err)
			}
			if p.Namespace == "" {
				n.policies = append(n.policies, p)
			}
		case "Deployment":
			pod := o.Object["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)["labels"].(map[string]any)
			n.pods[o.GetName()] = labels.Set{}
			for k, v := range pod {
				n.pods[o.GetName()][k] = v.(string)
			}
		}
	}
	return n
}

// lets says whether pods of one Deployment may connect to a TCP port of those of another: the policies of both ends must.
func (n network) lets(t *testing.T, from, to string, port int) bool {
	t.Helper()
	out, in := false, false
	for _, p := range n.policies {
		if matches(t, &p.Spec.PodSelector, n.pods[from]) {
			for _, r := range p.Spec.Egress {
				out = out || opens(r.Ports, port) && reaches(t, r.To, n.pods[to])
			}
		}
		if matches(t, &p.Spec.PodSelector, n.pods[to]) {
			for _, r := range p.Spec.Ingress {
				in = in || opens(r.Ports, port) && reaches(t, r.From, n.pods[from])
			}
		}
	}
	return out && in
}

func opens(ports []networkingv1.NetworkPolicyPort, port int) bool {
	for _, p := range ports {
		tcp := p.Protocol == nil || *p.Protocol == corev1.ProtocolTCP
		if tcp && (p.Port == nil || *p.Port == intstr.FromInt(port)) {
			return true
		}
	}
	return len(ports) == 0
}

// reaches says whether a pod of the namespace is among peers. Those of other namespaces, and networks, are not its.
func reaches(t *testing.T, peers []networkingv1.NetworkPolicyPeer, pod labels.Set) bool {
	t.Helper()
	for _, p := range peers {
		if p.PodSelector != nil && p.NamespaceSelector == nil && matches(t, p.PodSelector, pod) {
			return true
		}
	}
	return len(peers) == 0
}

func matches(t *testing.T, selector *metav1.LabelSelector, pod labels.Set) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(pod)
}

// A provisioner in reserve passes its clients on to the one that leads, which is a pod like it.
func TestThePoliciesOfTheChartLetPodsReachWhatTheyNeed(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, goldens+"/shop.golden.yaml")
	for _, c := range []struct {
		from, to string
		port     int
		want     bool
	}{
		{"foreshadow-provisioner", "foreshadow-provisioner", 7005, true},
		{"foreshadow-console", "foreshadow-provisioner", 7005, true},
		{"foreshadow-provisioner", "foreshadow-metrics-aggregator", 7003, true},
		{"foreshadow-provisioner", "foreshadow-provisioner", 9105, false}, // the pages for operators
		{"foreshadow-console", "foreshadow-provisioner", 7004, false},
	} {
		if got := n.lets(t, c.from, c.to, c.port); got != c.want {
			t.Errorf("%s to %s:%d is let through: %v", c.from, c.to, c.port, got)
		}
	}
}
