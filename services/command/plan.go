package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner"
	"github.com/foreshadow/foreshadow/services/stack"
)

func provisionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "provision", Short: "Look at what the provisioner would do", Args: noArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	plan := &cobra.Command{
		Use: "plan", Short: "Show what would be done about the present recommendations, and change nothing", Args: noArgs,
	}
	path := configFlag(plan)
	only := plan.Flags().String("workload", "", "only this one")
	dir := plan.Flags().String("dir", upDir, "directory of a running up, whose instances are asked for there")
	plan.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := load(*path)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		defer cancel()
		return runPlan(ctx, f.beside(*dir), *only, cmd.OutOrStdout())
	}
	cmd.AddCommand(plan, removeShadowCommand())
	return cmd
}

// beside has the platforms that up runs asked in its directory; where the configuration's own are there, these.
func (f file) beside(dir string) file {
	there := func(socket string) bool {
		_, err := os.Stat(socket)
		return err == nil
	}
	local, docker := stack.Sockets(dir)
	if !there(f.LocalPlatform.Socket) && there(local) {
		f.LocalPlatform.Socket = local
	}
	if !there(f.DockerPlatform.Socket) && there(docker) {
		f.DockerPlatform.Socket = docker
	}
	return f
}

func removeShadowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove-shadow", Short: "Remove a shadow that was made as a copy of production", Args: noArgs,
		Long: `Removes the object and the network policy that were made for the shadow, and nothing that was not. While a provisioner runs and
shadow.kubernetes.copy.enabled is true it makes them again.`,
	}
	path := configFlag(cmd)
	name := cmd.Flags().String("workload", "", "the workload whose shadow is removed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := load(*path)
		if err != nil {
			return err
		}
		at, err := newPlaces(f, nil, nil)
		if err != nil {
			return usageError{err}
		}
		for _, w := range f.Workloads {
			if w.Name != *name {
				continue
			}
			if w.Shadow.Platform != workload.PlatformKubernetes {
				return usageError{fmt.Errorf("workload %q: its shadow is not on kubernetes", *name)}
			}
			if err := at.kubernetes.RemoveCopy(cmd.Context(), w.Shadow.Group); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "the shadow of %s is removed\n", *name)
			return err
		}
		return usageError{fmt.Errorf("workload %q: is not declared", *name)}
	}
	return cmd
}

// runPlan asks the predictor what it recommends and the provisioner what it is doing; the addresses are the console's.
func runPlan(ctx context.Context, f file, only string, out io.Writer) error {
	at, err := newPlaces(f, nil, nil)
	if err != nil {
		return usageError{err}
	}
	p := newProcess(f, "plan")
	edge, err := rpc.New(f.RPC, p.log, p.registry)
	if err != nil {
		return usageError{err}
	}
	advice, err := edge.Dial(f.Console.Predictor)
	if err != nil {
		return err
	}
	defer func() { _ = advice.Close() }()
	steering, err := edge.Dial(f.Console.Provisioner)
	if err != nil {
		return err
	}
	defer func() { _ = steering.Close() }()
	found := false
	var errs []error
	for _, w := range f.Workloads {
		if only != "" && w.Name != only {
			continue
		}
		found = true
		got, err := foreshadowv1.NewRecommendationServiceClient(advice).GetRecommendation(ctx, &foreshadowv1.GetRecommendationRequest{Workload: w.Name})
		if err != nil {
			errs = append(errs, fmt.Errorf("ask the predictor about %q: %w", w.Name, err))
			continue
		}
		status, err := foreshadowv1.NewProvisioningServiceClient(steering).GetProvisioningStatus(ctx, &foreshadowv1.GetProvisioningStatusRequest{Workload: w.Name})
		if err != nil {
			fmt.Fprintf(out, "%s: no provisioner can be asked whether it is paused: %v\n", w.Name, err)
		}
		plan, err := provisioner.MakePlan(ctx, w, got.GetRecommendation(), status.GetStatus(), at, time.Now())
		if err == nil {
			err = plan.Write(out)
		}
		errs = append(errs, err)
	}
	if !found {
		return usageError{fmt.Errorf("workload %q: is not declared", only)}
	}
	return errors.Join(errs...)
}
