package kubernetes_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	deploymentName = "foreshadow-provisioner"
	// readyAfter is the annotation by which the stand-in for a kubelet goes.
	readyAfter = "controlplane/ready-after"
	neverReady = "never"
)

// rolls has the provisioner of the chart renewed twice by the real Deployment controller, as upgrades do: from a release whose
// reserve is never ready, and from one whose reserve is. Each new pod is a process of the built binary, and as ready as that says.
// Both rollouts end, as kubectl sees it, with one that leads and one in reserve, and clients of either are answered.
func rolls(t *testing.T, plane *kubernetestest.ControlPlane, i *installer) {
	c := kubernetestest.NewOnPlane(t, plane)
	c.Workload("Deployment", "web", 2)
	c.Workload("Deployment", "web-shadow", 0)
	r := newRollout(t, i, newProcesses(t, c), c.Namespace)
	r.mark(r.pods, r.list()[0].GetName(), "%s", neverReady) // the one in reserve, as it was
	r.until("one in reserve that is not ready", func(d map[string]any) bool { return number(d, "status", "availableReplicas") == 1 })
	for _, from := range []string{"a release whose reserve is never ready", "one whose reserve is ready"} {
		before := r.uids()
		r.renew()
		r.until("the rollout to end, from "+from, r.ended)
		for _, p := range r.list() {
			if before[p.GetUID()] && p.GetDeletionTimestamp() == nil { // one that is about to go does not count
				t.Errorf("from %s: %s was not renewed", from, p.GetName())
			}
		}
		r.answered()
	}
}

// rollout is the Deployment of the provisioner, and a process for each pod of it that is not from before.
type rollout struct {
	*processes
	t                 *testing.T
	deployments, pods dynamic.ResourceInterface
	file              string
	renewals          int

	mu  sync.Mutex
	ran map[types.UID]*podProcess
}

// podProcess is what runs in a pod.
type podProcess struct {
	listen, admin string
	stop          func()
	said          string // what the pod was said to be
}

func newRollout(t *testing.T, i *installer, p *processes, ns string) *rollout {
	t.Helper()
	in := func(group, resource string) dynamic.ResourceInterface {
		return i.client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}).Namespace(namespace)
	}
	r := &rollout{
		processes: p, t: t, deployments: in("apps", "deployments"), pods: in("", "pods"), file: filepath.Join(p.dir, "rollout.yaml"),
		ran: map[types.UID]*podProcess{},
	}
	config := fmt.Sprintf(`
kafka: {brokers: [%q]}
kubernetes: {kubeconfig: %q}
provisioner: {history: "127.0.0.1:1", lease: {name: rollout, namespace: %q, duration: 4s}}
workloads:
  - name: shop
    slo: {quantile: 0.95, latency: 200ms}
    production: {platform: kubernetes, group: shop, kubernetes: {namespace: %q, name: web, port: 8080}}
    shadow: {platform: kubernetes, group: shop-shadow, kubernetes: {namespace: %q, name: web-shadow, port: 8080}}
`, p.listen["broker"], filepath.Join(p.dir, "kubeconfig"), ns, ns, ns)
	if err := os.WriteFile(r.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.background(func(ctx context.Context) error {
		defer r.end()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			r.attend(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return r
}

// attend does what a kubelet does: it starts a process for each new pod, stops that of one that is gone, and says which are ready.
func (r *rollout) attend(ctx context.Context) {
	found, err := r.pods.List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=provisioner,renewed"})
	if err != nil {
		return
	}
	there := map[types.UID]bool{}
	for i := range found.Items {
		pod := &found.Items[i]
		there[pod.GetUID()] = pod.GetDeletionTimestamp() == nil
		r.mu.Lock()
		p := r.ran[pod.GetUID()]
		if p == nil && there[pod.GetUID()] {
			p = r.startPod(pod.GetName())
			r.ran[pod.GetUID()] = p
		}
		r.mu.Unlock()
		if p == nil {
			continue
		}
		if says := p.ready(); says != p.said && annotate(ctx, r.pods, pod.GetName(), "%s", says) == nil {
			p.said = says
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid, p := range r.ran {
		if !there[uid] {
			delete(r.ran, uid)
			p.stop()
		}
	}
}

func (r *rollout) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.ran {
		p.stop()
	}
}

// startPod runs the binary as the chart does: the environment says what differs between pods.
func (r *rollout) startPod(name string) *podProcess {
	p := &podProcess{listen: freeAddress(r.t), admin: freeAddress(r.t), said: neverReady}
	cmd := exec.Command(r.binary, "provisioner", "--config", r.file)
	cmd.Env = append(os.Environ(), "FORESHADOW_PROVISIONER_LISTEN="+p.listen, "FORESHADOW_PROVISIONER_ADMIN="+p.admin,
		"FORESHADOW_PROVISIONER_LEASE_IDENTITY="+name, "FORESHADOW_PROVISIONER_ADVERTISE=127.0.0.1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, 15*time.Second
	if err := cmd.Start(); err != nil {
		r.t.Error(err)
		p.stop = func() {}
		return p
	}
	p.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || r.t.Failed() {
			r.t.Logf("%s: %v\n%s", name, err, out)
		}
	})
	return p
}

// ready is the annotation that says what a process says of itself.
func (p *podProcess) ready() string {
	resp, err := http.Get("http://" + p.admin + "/readyz")
	if err != nil {
		return neverReady
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return neverReady
	}
	return "0s"
}

// annotate says after which time a pod is ready; format puts the metadata where it belongs.
func annotate(ctx context.Context, to dynamic.ResourceInterface, name, format, after string) error {
	patch := fmt.Sprintf(format, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, readyAfter, after))
	_, err := to.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (r *rollout) mark(to dynamic.ResourceInterface, name, format, after string) {
	r.t.Helper()
	if err := annotate(r.t.Context(), to, name, format, after); err != nil {
		r.t.Fatal(err)
	}
}

// renew changes the template, as a new release does: its pods are ready when the processes say so.
func (r *rollout) renew() {
	r.t.Helper()
	r.renewals++
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"labels":{"renewed":"%d"},"annotations":{%q:%q}}}}}`, r.renewals, readyAfter, neverReady)
	if _, err := r.deployments.Patch(r.t.Context(), deploymentName, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// until waits until the Deployment is as asked for.
func (r *rollout) until(what string, is func(deployment map[string]any) bool) {
	r.t.Helper()
	var last map[string]any
	defer func() {
		if r.t.Failed() {
			r.t.Log(last["status"])
		}
	}()
	kubernetestest.Until(r.t, what, func() bool {
		d, err := r.deployments.Get(r.t.Context(), deploymentName, metav1.GetOptions{})
		if err != nil {
			return false
		}
		last = d.Object
		return is(last)
	})
}

// ended is how `kubectl rollout status` judges it.
func (r *rollout) ended(d map[string]any) bool {
	want := number(d, "spec", "replicas")
	return number(d, "status", "observedGeneration") >= number(d, "metadata", "generation") &&
		number(d, "status", "updatedReplicas") == want && number(d, "status", "replicas") == want && number(d, "status", "availableReplicas") == want
}

func number(d map[string]any, path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(d, path...)
	return n
}

func (r *rollout) list() []unstructured.Unstructured {
	r.t.Helper()
	found, err := r.pods.List(r.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=provisioner"})
	if err != nil {
		r.t.Fatal(err)
	}
	return found.Items
}

func (r *rollout) uids() map[types.UID]bool {
	out := map[types.UID]bool{}
	for _, p := range r.list() {
		out[p.GetUID()] = true
	}
	return out
}

// answered asks each of the processes; all are answered, by the one that leads.
func (r *rollout) answered() {
	r.t.Helper()
	addresses := map[string]bool{}
	kubernetestest.Until(r.t, "two processes to be left", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		clear(addresses)
		for _, p := range r.ran {
			addresses[p.listen] = true
		}
		return len(addresses) == 2
	})
	for address := range addresses {
		conn, err := rpc.Dial(address)
		if err != nil {
			r.t.Fatal(err)
		}
		client := foreshadowv1.NewProvisioningServiceClient(conn)
		kubernetestest.Until(r.t, address+" to answer", func() bool {
			resp, err := client.GetProvisioningStatus(r.t.Context(), &foreshadowv1.GetProvisioningStatusRequest{Workload: "shop"})
			if err != nil && status.Code(err) != codes.Unavailable {
				r.t.Fatal(err)
			}
			return err == nil && resp.GetStatus().GetProductionReadyInstances() == 2
		})
		_ = conn.Close()
	}
}
