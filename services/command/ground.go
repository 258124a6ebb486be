package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/foreshadow/foreshadow/libs/embedded"
	"github.com/foreshadow/foreshadow/libs/platform/docker"
	"github.com/foreshadow/foreshadow/libs/platform/local"
	"github.com/foreshadow/foreshadow/services/demo"
)

// runFunc makes a function a runner.
type runFunc func(ctx context.Context) error

func (f runFunc) Run(ctx context.Context) error { return f(ctx) }

func brokerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "broker", Short: "Run the embedded Kafka broker (one machine only: no replication, no access control)", Args: noArgs,
	}
	cfg := embedded.DefaultBrokerConfig()
	admin := cmd.Flags().String("admin", "127.0.0.1:9108", "address of the admin listener")
	cmd.Flags().StringVar(&cfg.Listen, "listen", cfg.Listen, "address to listen on")
	cmd.Flags().StringVar(&cfg.Advertise, "advertise", cfg.Advertise, "address that clients are told to come back to")
	cmd.Flags().StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "directory of the log; empty keeps it in RAM")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := cfg.Validate(); err != nil {
			return usageError{err}
		}
		p := newProcess(defaultFile(), "broker")
		p.admin.NotReady("broker", "starting")
		cfg.Logger = p.log
		cfg.Ready = func(string) { p.admin.Ready("broker") }
		return p.run(cmd.Context(), *admin, runFunc(func(ctx context.Context) error { return embedded.RunBroker(ctx, cfg) }))
	}
	return cmd
}

func postgresCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "postgres", Short: "Run a private PostgreSQL found on this machine", Args: noArgs}
	cfg := embedded.DefaultPostgresConfig()
	admin := cmd.Flags().String("admin", "127.0.0.1:9109", "address of the admin listener")
	cmd.Flags().StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "directory of the data; created when missing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := cfg.Validate(); err != nil {
			return usageError{err}
		}
		p := newProcess(defaultFile(), "postgres")
		p.admin.NotReady("postgres", "starting")
		return p.run(cmd.Context(), *admin, runFunc(func(ctx context.Context) error {
			server, err := embedded.StartPostgres(ctx, cfg)
			if err != nil {
				return err
			}
			if _, err := server.EnsureDatabase(ctx, "foreshadow"); err != nil {
				return errors.Join(err, server.Stop(context.WithoutCancel(ctx)))
			}
			p.admin.Ready("postgres")
			ended := make(chan error, 1)
			go func() { ended <- server.Wait() }()
			select {
			case err := <-ended:
				return fmt.Errorf("postgres ended by itself: %w", err)
			case <-ctx.Done():
			}
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return server.Stop(stop)
		}))
	}
	return cmd
}

func localPlatformCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "local-platform", Short: "Run the instances of all workloads as processes of this machine", Args: noArgs}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := load(*path)
		if err != nil {
			return err
		}
		p := newProcess(f, "local-platform")
		groups, err := local.Groups(f.Workloads)
		if err != nil {
			return usageError{err}
		}
		agent, err := local.New(f.LocalPlatform, local.Deps{Groups: groups, Log: p.log, Registry: p.registry})
		if err != nil {
			return usageError{err}
		}
		return p.run(cmd.Context(), f.LocalPlatform.Admin, agent)
	}
	return cmd
}

func dockerPlatformCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "docker-platform", Short: "Run the instances of all workloads that are containers of a Docker engine", Args: noArgs,
		Long: `Keeps as many containers as are asked for, each made like the one that the user made. It is the only process that needs the
engine's socket. Whoever has that socket is root on the engine's machine: give it a proxy of the socket that lets through
nothing but /containers.`,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := load(*path)
		if err != nil {
			return err
		}
		p := newProcess(f, "docker-platform")
		groups, err := docker.Groups(f.Workloads)
		if err != nil {
			return usageError{err}
		}
		agent, err := docker.New(f.DockerPlatform, docker.Deps{Groups: groups, Log: p.log, Registry: p.registry, Health: p.admin})
		if err != nil {
			return usageError{err}
		}
		return p.run(cmd.Context(), f.DockerPlatform.Admin, agent)
	}
	return cmd
}

func shopCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "shop", Short: "Run one instance of the demo's sample web shop on $PORT", Args: noArgs}
	cfg := demo.DefaultShop()
	host := cmd.Flags().String("host", "127.0.0.1", "address to listen on; in a container its own, 0.0.0.0")
	cmd.Flags().DurationVar(&cfg.Startup, "startup", cfg.Startup, "time until it is ready")
	cmd.Flags().IntVar(&cfg.Workers, "workers", cfg.Workers, "requests it works on at once")
	cmd.Flags().DurationVar(&cfg.ServiceTime, "service-time", cfg.ServiceTime, "mean time one request takes a worker")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		port := os.Getenv("PORT")
		if port == "" {
			return usageError{errors.New("PORT is not set: it names the port to listen on")}
		}
		ln, err := net.Listen("tcp", net.JoinHostPort(*host, port))
		if err != nil {
			return fmt.Errorf("listen for the shop: %w", err)
		}
		return demo.RunShop(cmd.Context(), cfg, ln)
	}
	return cmd
}
