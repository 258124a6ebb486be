// Command controlplane is a Kubernetes control plane for tests: the real etcd, API server and controllers as processes of
// this machine, and a stand-in for the scheduler and the kubelets, which binds pods and says that they run. No container is
// started. It is a module of its own, because nothing that is shipped should depend on Kubernetes' own code.
//
//	controlplane etcd        --dir D --client URL --peer URL
//	controlplane apiserver   flags of kube-apiserver
//	controlplane controllers flags of kube-controller-manager
//	controlplane kubelet     --kubeconfig F
//
// Each part is a process, so that a test can kill or stop it. libs/platform/kubernetes/kubernetestest starts them.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	root := &cobra.Command{Use: "controlplane", Short: "A Kubernetes control plane for tests", SilenceUsage: true}
	// Kubernetes' components register global flags and metrics: only the part that was asked for may be made.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "apiserver":
			root.AddCommand(named(apiserver.NewAPIServerCommand(), "apiserver"))
		case "controllers":
			root.AddCommand(named(controllers.NewControllerManagerCommand(), "controllers"))
		}
	}
	root.AddCommand(etcdCommand(), kubeletCommand())
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func named(c *cobra.Command, name string) *cobra.Command {
	c.Use = name
	return c
}
