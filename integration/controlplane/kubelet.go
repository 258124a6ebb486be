package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// nodeName is the one node there is.
	nodeName = "node-1"
	// lookEvery is the time between two looks at all pods.
	lookEvery = 100 * time.Millisecond
	// startAnnotation of a pod says how long it takes from running to ready; "never" is possible.
	startAnnotation = "controlplane/ready-after"
)

func kubeletCommand() *cobra.Command {
	var kubeconfig, cores, memory string
	c := &cobra.Command{
		Use: "kubelet", Short: "Bind pods and say that they run", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("read kubeconfig: %w", err)
			}
			cfg.QPS, cfg.Burst = 1000, 1000
			client, err := kubernetes.NewForConfig(cfg)
			if err != nil {
				return fmt.Errorf("make client: %w", err)
			}
			k := &kubelet{client: client, capacity: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse(cores), corev1.ResourceMemory: resource.MustParse(memory),
				corev1.ResourcePods: resource.MustParse("250"),
			}}
			return k.run(ctx)
		},
	}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "file that says how to reach the API server")
	c.Flags().StringVar(&cores, "cores", "64", "CPU of the node")
	c.Flags().StringVar(&memory, "memory", "256Gi", "memory of the node")
	return c
}

// kubelet stands in for the scheduler and for the kubelet of one node.
type kubelet struct {
	client   kubernetes.Interface
	capacity corev1.ResourceList
	next     int // of the pods' addresses
}

func (k *kubelet) run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		// The API server comes and goes in tests; what could not be said now is said at the next look.
		if err := k.once(ctx); err != nil && ctx.Err() == nil {
			fmt.Println("kubelet:", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (k *kubelet) once(ctx context.Context) error {
	if err := k.node(ctx); err != nil {
		return err
	}
	pods, err := k.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	free := k.free(pods.Items)
	var errs []error
	for i := range pods.Items {
		if err := k.pod(ctx, &pods.Items[i], free); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// node makes the node and says that it is well.
func (k *kubelet) node(ctx context.Context) error {
	n, err := k.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		n, err = k.client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}, metav1.CreateOptions{})
	}
	if err != nil || len(n.Status.Conditions) > 0 {
		return err
	}
	n.Status.Capacity, n.Status.Allocatable = k.capacity, k.capacity
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}}
	_, err = k.client.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{})
	return err
}

// free is what the bound pods leave of the node.
func (k *kubelet) free(pods []corev1.Pod) corev1.ResourceList {
	free := corev1.ResourceList{}
	for name, q := range k.capacity {
		free[name] = q.DeepCopy()
	}
	for i := range pods {
		if pods[i].Spec.NodeName != "" {
			take(free, &pods[i])
		}
	}
	return free
}

// take lowers free by what a pod requests; it reports false, and leaves free alone, when that is not there.
func take(free corev1.ResourceList, p *corev1.Pod) bool {
	cpu, memory := free[corev1.ResourceCPU], free[corev1.ResourceMemory]
	for _, c := range p.Spec.Containers {
		cpu.Sub(c.Resources.Requests[corev1.ResourceCPU])
		memory.Sub(c.Resources.Requests[corev1.ResourceMemory])
	}
	if cpu.Sign() < 0 || memory.Sign() < 0 {
		return false
	}
	free[corev1.ResourceCPU], free[corev1.ResourceMemory] = cpu, memory
	return true
}

// pod does what is due for one pod.
func (k *kubelet) pod(ctx context.Context, p *corev1.Pod, free corev1.ResourceList) error {
	pods := k.client.CoreV1().Pods(p.Namespace)
	switch {
	case p.DeletionTimestamp != nil:
		now := int64(0)
		return pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	case p.Spec.NodeName == "":
		if !take(free, p) {
			return nil // stays pending
		}
		return pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, UID: p.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
		}, metav1.CreateOptions{})
	}
	if !k.advance(p, time.Now()) {
		return nil
	}
	_, err := pods.UpdateStatus(ctx, p, metav1.UpdateOptions{})
	return err
}
