package command

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console"
	aggregator "github.com/foreshadow/foreshadow/services/metrics-aggregator"
	"github.com/foreshadow/foreshadow/services/predictor"
	"github.com/foreshadow/foreshadow/services/provisioner"
	"github.com/foreshadow/foreshadow/services/replicator"
	shadowrunner "github.com/foreshadow/foreshadow/services/shadow-runner"
)

func serviceCommands() []*cobra.Command {
	var out []*cobra.Command
	for _, s := range []service{
		{
			// The tap serves users whether or not anything behind it is there.
			name: "replicator", short: "Serve users, and copy a redacted sample of their requests",
			build: buildReplicator, admin: func(f file) string { return f.Replicator.Admin },
		},
		{
			name: "shadow-runner", short: "Replay the copies against the shadow and measure what one instance carries",
			needs: broker, build: buildShadowRunner, admin: func(f file) string { return f.ShadowRunner.Admin },
		},
		{
			name: "metrics-aggregator", short: "Merge what was observed into exact windows, and keep and serve history",
			needs: brokerAndDatabase, build: buildAggregator, admin: func(f file) string { return f.Aggregator.Admin },
		},
		{
			name: "predictor", short: "Forecast the demand and recommend sizes ahead of time",
			needs: broker, build: buildPredictor, admin: func(f file) string { return f.Predictor.Admin },
		},
		{
			name: "provisioner", short: "Carry recommendations out, within guardrails",
			needs: broker, build: buildProvisioner, admin: func(f file) string { return f.Provisioner.Admin },
		},
		{
			name: "console", short: "Serve the web page",
			build: buildConsole, admin: func(f file) string { return f.Console.Admin },
		},
	} {
		out = append(out, serviceCommand(s))
	}
	return out
}

func buildReplicator(p *process) (runner, error) {
	at, err := p.places()
	if err != nil {
		return nil, err
	}
	s, err := replicator.New(p.file.Replicator, replicator.Deps{
		Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry, Admin: p.admin,
		Instances: at,
	})
	return reloadingReplicator{s}, err
}

// reloadingReplicator hands the replicator its part of a reloaded file.
type reloadingReplicator struct{ *replicator.Service }

func (r reloadingReplicator) Reload(f file) error { return r.Service.Reload(f.Replicator, f.Workloads) }

func buildShadowRunner(p *process) (runner, error) {
	at, err := p.places()
	if err != nil {
		return nil, err
	}
	s, err := shadowrunner.New(p.file.ShadowRunner, shadowrunner.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry, Admin: p.admin,
		Instances: at, Trials: at,
	})
	return s, err
}

func buildAggregator(p *process) (runner, error) {
	at, err := p.places()
	if err != nil {
		return nil, err
	}
	s, err := aggregator.New(p.file.Aggregator, aggregator.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry,
		Admin: p.admin, Instances: at,
	})
	return s, err
}

func buildPredictor(p *process) (runner, error) {
	s, err := predictor.New(p.file.Predictor, predictor.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry, Admin: p.admin, Tracing: p.tracing, Now: time.Now,
	})
	return s, err
}

func buildProvisioner(p *process) (runner, error) {
	conn, err := p.rpc.Dial(p.file.Provisioner.History)
	if err != nil {
		return nil, err
	}
	at, err := p.places()
	if err != nil {
		return nil, err
	}
	election, err := provisioner.NewElection(p.file.Provisioner.Lease, at.kubernetes, p.log)
	if err != nil {
		return nil, err
	}
	s, err := provisioner.New(p.file.Provisioner, provisioner.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry, Admin: p.admin, Tracing: p.tracing, Now: time.Now,
		Platform: at, Election: election, Declared: p.declared.scalers(), History: foreshadowv1.NewHistoryServiceClient(conn),
	})
	return s, err
}

func buildConsole(p *process) (runner, error) {
	s, err := console.New(p.file.Console, console.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Log: p.log, Registry: p.registry, Admin: p.admin,
	})
	return s, err
}

// binary is the program that runs, for the children that are the same program.
func binary() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}
