package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/command/internal/whatif"
	"github.com/foreshadow/foreshadow/services/console"
)

// experimentFlags say where the services are, and how they are spoken to.
type experimentFlags struct{ config, runner, history, predictor string }

// edge speaks as the configuration file says, and takes from it the addresses that no flag gives; without a file, plain text.
func (f *experimentFlags) edge(cmd *cobra.Command) (*rpc.Edge, error) {
	if f.config == "" {
		return nil, nil
	}
	c, err := load(f.config)
	if err != nil {
		return nil, err
	}
	for name, at := range map[string]struct {
		flag *string
		file string
	}{"shadow-runner": {&f.runner, c.Console.ShadowRunner}, "history": {&f.history, c.Console.History}, "predictor": {&f.predictor, c.Console.Predictor}} {
		if !cmd.Flags().Changed(name) {
			*at.flag = at.file
		}
	}
	return newEdge(c)
}

// edgeOf speaks as a configuration file says; without one, plain text.
func edgeOf(config string) (*rpc.Edge, error) {
	if config == "" {
		return nil, nil
	}
	c, err := load(config)
	if err != nil {
		return nil, err
	}
	return newEdge(c)
}

func newEdge(c file) (*rpc.Edge, error) {
	edge, err := rpc.New(c.RPC, slog.New(slog.DiscardHandler), telemetry.NewRegistry())
	if err != nil {
		return nil, usageError{err}
	}
	return edge, nil
}

func experimentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "experiment", Short: "Ask what would happen if, and have the shadow answer", Args: noArgs,
		Long: `Runs a matrix of configurations (instances, CPU, memory, environment, image) under loads (multiples of the present one, a
recorded peak, a forecast day) in the shadow, never in production, within a budget of instances and minutes.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags, at := experimentFlags{}, console.DefaultConfig()
	cmd.PersistentFlags().StringVar(&flags.config, "config", "", "configuration file of the services, for their addresses, TLS and identity")
	cmd.PersistentFlags().StringVar(&flags.runner, "shadow-runner", at.ShadowRunner, "host:port of the shadow-runner's ExperimentService")
	cmd.PersistentFlags().StringVar(&flags.history, "history", at.History, "host:port of HistoryService, for a recorded peak")
	cmd.PersistentFlags().StringVar(&flags.predictor, "predictor", at.Predictor, "host:port of ForecastService, for a forecast day")
	cmd.AddCommand(experimentRun(&flags), experimentList(&flags), experimentShow(&flags), experimentCancel(&flags))
	return cmd
}

func experimentRun(flags *experimentFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "run", Short: "Run the experiment of a file and report what came of it", Args: noArgs}
	path := cmd.Flags().StringP("file", "f", "", "file of the experiment")
	html := cmd.Flags().String("html", "", "write the report with its chart to this file")
	json := cmd.Flags().String("json", "", "write the report as JSON to this file")
	detach := cmd.Flags().Bool("detach", false, "print its identity and leave it running")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *path == "" {
			return usageError{errors.New("--file is missing: name the file of the experiment")}
		}
		f, err := whatif.Read(*path)
		if err != nil {
			return usageError{err}
		}
		return flags.with(cmd, func(edge *rpc.Edge, client foreshadowv1.ExperimentServiceClient) error {
			req, err := flags.resolve(cmd.Context(), edge, f)
			if err != nil {
				return err
			}
			req.RequestId = uuid.NewString()
			e, err := create(cmd.Context(), client, req)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "experiment %s runs: %d cells of %v\n", e.GetExperimentId(), len(f.Configurations)*len(f.Loads), f.Hold)
			if *detach {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), e.GetExperimentId())
				return err
			}
			if e, err = follow(cmd.Context(), client, e.GetExperimentId(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			r := whatif.Report{Experiment: e}
			return errors.Join(r.WriteTable(cmd.OutOrStdout()), writeTo(*html, r.WriteHTML), writeTo(*json, r.WriteJSON), ending(e))
		})
	}
	return cmd
}

// ending is an error unless all loads were held.
func ending(e *foreshadowv1.Experiment) error {
	if e.GetState() == foreshadowv1.ExperimentState_EXPERIMENT_STATE_SUCCEEDED {
		return nil
	}
	return fmt.Errorf("experiment %s did not succeed", e.GetExperimentId())
}

// with connects to the runner.
func (f *experimentFlags) with(cmd *cobra.Command, fn func(*rpc.Edge, foreshadowv1.ExperimentServiceClient) error) error {
	edge, err := f.edge(cmd)
	if err != nil {
		return err
	}
	conn, err := edge.Dial(f.runner)
	if err != nil {
		return usageError{err}
	}
	return errors.Join(fn(edge, foreshadowv1.NewExperimentServiceClient(conn)), conn.Close())
}

func (f *experimentFlags) resolve(ctx context.Context, edge *rpc.Edge, file whatif.File) (*foreshadowv1.CreateExperimentRequest, error) {
	history, err := edge.Dial(f.history)
	if err != nil {
		return nil, usageError{err}
	}
	defer func() { _ = history.Close() }()
	predictor, err := edge.Dial(f.predictor)
	if err != nil {
		return nil, usageError{err}
	}
	defer func() { _ = predictor.Close() }()
	s := whatif.Sources{History: foreshadowv1.NewHistoryServiceClient(history), Forecasts: foreshadowv1.NewForecastServiceClient(predictor), Now: time.Now}
	return s.Resolve(ctx, file)
}

const (
	followEvery = 500 * time.Millisecond
	// followAway is how long a runner may be away, for a restart.
	followAway = 2 * time.Minute
)

// create tries for as long as the runner may be away; the request_id makes that one experiment.
func create(ctx context.Context, client foreshadowv1.ExperimentServiceClient, req *foreshadowv1.CreateExperimentRequest) (*foreshadowv1.Experiment, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	for {
		resp, err := client.CreateExperiment(ctx, req)
		if err == nil {
			return resp.GetExperiment(), nil
		}
		if status.Code(err) != codes.Unavailable || !pause(ctx) {
			return nil, fmt.Errorf("create experiment: %w", err)
		}
	}
}

// follow waits for the end of an experiment, over restarts of the runner, and says how far it has come.
func follow(ctx context.Context, client foreshadowv1.ExperimentServiceClient, id string, progress io.Writer) (*foreshadowv1.Experiment, error) {
	cells, seen := -1, time.Now()
	for {
		resp, err := client.GetExperiment(ctx, &foreshadowv1.GetExperimentRequest{ExperimentId: id})
		e := resp.GetExperiment()
		switch {
		case err != nil && (status.Code(err) != codes.Unavailable || time.Since(seen) > followAway):
			return nil, fmt.Errorf("follow experiment %s: %w", id, err)
		case err == nil:
			seen = time.Now()
			if e.GetState() != foreshadowv1.ExperimentState_EXPERIMENT_STATE_RUNNING {
				return e, nil
			}
			if len(e.GetCells()) != cells {
				cells = len(e.GetCells())
				fmt.Fprintf(progress, "%d of %d cells held\n", cells, len(e.GetMatrix().GetConfigurations())*len(e.GetMatrix().GetLoads()))
			}
		}
		if !pause(ctx) {
			return nil, fmt.Errorf("follow experiment %s, which goes on: %w", id, context.Cause(ctx))
		}
	}
}

// pause is false when ctx has ended.
func pause(ctx context.Context) bool {
	t := time.NewTimer(followEvery)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func experimentList(flags *experimentFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List experiments, newest first", Args: noArgs}
	workload := cmd.Flags().String("workload", "", "only those of this workload")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return flags.with(cmd, func(_ *rpc.Edge, client foreshadowv1.ExperimentServiceClient) error {
			resp, err := client.ListExperiments(cmd.Context(), &foreshadowv1.ListExperimentsRequest{Workload: *workload})
			if err != nil {
				return fmt.Errorf("list experiments: %w", err)
			}
			for e := range slices.Values(resp.GetExperiments()) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %-10s  %-9s  %s\n", e.GetExperimentId(), e.GetCreateTime().AsTime().Format(time.RFC3339), e.GetWorkload(), whatif.State(e), e.GetFailure())
			}
			return nil
		})
	}
	return cmd
}

// oneArg refuses anything but the identity of an experiment, as a usage error.
func oneArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s takes the id of one experiment, got %d; foreshadow experiment list shows them", cmd.CommandPath(), len(args))}
	}
	return nil
}

func experimentShow(flags *experimentFlags) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Report what came of an experiment so far", Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.with(cmd, func(_ *rpc.Edge, client foreshadowv1.ExperimentServiceClient) error {
				resp, err := client.GetExperiment(cmd.Context(), &foreshadowv1.GetExperimentRequest{ExperimentId: args[0]})
				if err != nil {
					return fmt.Errorf("show experiment: %w", err)
				}
				return whatif.Report{Experiment: resp.GetExperiment()}.WriteTable(cmd.OutOrStdout())
			})
		},
	}
}

func experimentCancel(flags *experimentFlags) *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "End an experiment; what was held stays", Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.with(cmd, func(_ *rpc.Edge, client foreshadowv1.ExperimentServiceClient) error {
				resp, err := client.CancelExperiment(cmd.Context(), &foreshadowv1.CancelExperimentRequest{ExperimentId: args[0]})
				if err != nil {
					return fmt.Errorf("cancel experiment: %w", err)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), whatif.State(resp.GetExperiment()))
				return err
			})
		},
	}
}
