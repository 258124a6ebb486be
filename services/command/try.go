package command

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/demo"
	"github.com/foreshadow/foreshadow/services/stack"
)

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "Watch Foreshadow scale a sample web shop through real days of real traffic", Args: noArgs,
		Long: `Runs everything on this machine: the embedded broker, a private PostgreSQL, the five services, the console, and a sample
web shop as real processes behind the replicator. Users send real HTTP requests, mixed like a real access log and paced
like real days of a real service. At the end it says what Foreshadow did, and what the Kubernetes HPA would have done.
The exit code is 1 when an invariant broke.`,
	}
	o := demo.Options{Policy: workload.Predictive}
	flags := cmd.Flags()
	flags.DurationVar(&o.For, "for", 0, "how long users come; 0 = until Ctrl-C")
	flags.DurationVar(&o.Day, "day", 2*time.Minute, "how long a day of the trace takes")
	flags.StringVar((*string)(&o.Policy), "policy", string(o.Policy), "predictive or reactive")
	flags.StringVar(&o.Report, "report", "", "write the report to this file, as JSON")
	flags.StringVar(&o.Console, "console", "", "address of the web page (default: a free port of this machine)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.Validate(); err != nil {
			return usageError{err}
		}
		var err error
		if o.Binary, err = binary(); err != nil {
			return err
		}
		o.Out = cmd.OutOrStdout()
		return demo.Run(cmd.Context(), o)
	}
	return cmd
}

// upDir is where up keeps its data, unless it is told otherwise.
const upDir = ".foreshadow"

func upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "up", Short: "Run everything on this machine for the workloads of a configuration file", Args: noArgs,
		Long: `Runs the embedded broker, a private PostgreSQL, the five services and the console for the workloads of a configuration file,
and says where users and the console find it. Ctrl-C ends it all; what was learnt is kept in --dir.`,
		Example: "  foreshadow up --config shop.yaml",
	}
	path := configFlag(cmd)
	dir := cmd.Flags().String("dir", upDir, "directory for data and logs; kept")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := load(*path)
		if err != nil {
			return err
		}
		if err := errors.Join(f.validateApart(), checkCommands(f.Workloads)); err != nil {
			return f.located(err)
		}
		program, err := binary()
		if err != nil {
			return err
		}
		root, err := filepath.Abs(*dir)
		if err != nil {
			return fmt.Errorf("find run directory: %w", err)
		}
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		s, err := stack.New(stack.Config{
			Binary: program, ConfigFile: *path, Dir: root, Platforms: platforms(f),
			Listen: map[string]string{
				stack.Replicator: f.Replicator.Listen, stack.Console: f.Console.Listen, stack.Predictor: f.Predictor.Listen,
				stack.Provisioner: f.Provisioner.Listen, stack.Aggregator: f.Aggregator.Listen, stack.ShadowRunner: f.ShadowRunner.Listen,
			},
			Admin: map[string]string{
				stack.Replicator: f.Replicator.Admin, stack.Console: f.Console.Admin, stack.Predictor: f.Predictor.Admin,
				stack.Provisioner: f.Provisioner.Admin, stack.Aggregator: f.Aggregator.Admin, stack.ShadowRunner: f.ShadowRunner.Admin,
				stack.LocalPlatform: f.LocalPlatform.Admin, stack.DockerPlatform: f.DockerPlatform.Admin,
			},
		}, log)
		if err != nil {
			return err
		}
		go func() {
			select {
			case <-s.Ready():
				scheme := "http"
				if f.Console.TLS {
					scheme = "https"
				}
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "Users: http://%s   Console: %s://%s   Logs: %s\n",
					s.Listen(stack.Replicator), scheme, s.Listen(stack.Console), filepath.Join(root, "logs"))
			case <-cmd.Context().Done():
			}
		}()
		return s.Run(cmd.Context())
	}
	return cmd
}

// checkCommands finds the programs of the instances, which run on this machine, before they are missed.
func checkCommands(workloads []workload.Workload) error {
	var errs []error
	for i, w := range workloads {
		for _, at := range []struct {
			key string
			workload.Target
		}{{"production", w.Production}, {"shadow", w.Shadow}} {
			if at.Platform != workload.PlatformLocal || len(at.Process.Command) == 0 {
				continue
			}
			if _, err := exec.LookPath(at.Process.Command[0]); err != nil {
				errs = append(errs, fmt.Errorf("workloads[%d].%s.process.command: %w", i, at.key, err))
			}
		}
	}
	return errors.Join(errs...)
}

// platforms are the children that run the instances.
func platforms(f file) []string {
	names := map[string]string{workload.PlatformLocal: stack.LocalPlatform, workload.PlatformDocker: stack.DockerPlatform}
	out := []string{}
	for _, w := range f.Workloads {
		for _, t := range []workload.Target{w.Production, w.Shadow} {
			if name := names[t.Platform]; name != "" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

func usersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "users", Short: "Send the demo's users to a URL, until Ctrl-C", Args: noArgs,
	}
	url := cmd.Flags().String("url", "http://127.0.0.1:8080", "where to send them")
	day := cmd.Flags().Duration("day", 2*time.Minute, "how long a day of the trace takes")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return demo.SendUsers(cmd.Context(), *url, *day)
	}
	return cmd
}
