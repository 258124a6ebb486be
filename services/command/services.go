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
	return []*cobra.Command{
		// The tap serves users whether or not anything behind it is there.
		serviceCommand("replicator", "Serve users, and copy a redacted sample of their requests", nil, buildReplicator),
		serviceCommand("shadow-runner", "Replay the copies against the shadow and measure what one instance carries", broker, buildShadowRunner),
		serviceCommand("metrics-aggregator", "Merge what was observed into exact windows, and keep and serve history", brokerAndDatabase, buildAggregator),
		serviceCommand("predictor", "Forecast the demand and recommend sizes ahead of time", broker, buildPredictor),
		serviceCommand("provisioner", "Carry recommendations out, within guardrails", broker, buildProvisioner),
		serviceCommand("console", "Serve the web page", nil, buildConsole),
	}
}

func buildReplicator(p *process) (runner, string, error) {
	at, err := newPlaces(p.file)
	if err != nil {
		return nil, "", err
	}
	s, err := replicator.New(p.file.Replicator, replicator.Deps{
		Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry, Admin: p.admin,
		Instances: at,
	})
	return reloadingReplicator{s}, p.file.Replicator.Admin, err
}

// reloadingReplicator hands the replicator its part of a reloaded file.
type reloadingReplicator struct{ *replicator.Service }

func (r reloadingReplicator) Reload(f file) error { return r.Service.Reload(f.Replicator, f.Workloads) }

func buildShadowRunner(p *process) (runner, string, error) {
	at, err := newPlaces(p.file)
	if err != nil {
		return nil, "", err
	}
	s, err := shadowrunner.New(p.file.ShadowRunner, shadowrunner.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry, Admin: p.admin,
		Instances: at, Trials: at.local,
	})
	return s, p.file.ShadowRunner.Admin, err
}

func buildAggregator(p *process) (runner, string, error) {
	at, err := newPlaces(p.file)
	if err != nil {
		return nil, "", err
	}
	s, err := aggregator.New(p.file.Aggregator, aggregator.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry,
		Admin: p.admin, Instances: at,
	})
	return s, p.file.Aggregator.Admin, err
}

func buildPredictor(p *process) (runner, string, error) {
	s, err := predictor.New(p.file.Predictor, predictor.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry, Admin: p.admin, Tracing: p.tracing, Now: time.Now,
	})
	return s, p.file.Predictor.Admin, err
}

func buildProvisioner(p *process) (runner, string, error) {
	conn, err := p.rpc.Dial(p.file.Provisioner.History)
	if err != nil {
		return nil, "", err
	}
	at, err := newPlaces(p.file)
	if err != nil {
		return nil, "", err
	}
	election, err := provisioner.NewElection(p.file.Provisioner.Lease, at.kubernetes, p.log)
	if err != nil {
		return nil, "", err
	}
	s, err := provisioner.New(p.file.Provisioner, provisioner.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Kafka: p.file.Kafka, Log: p.log, Registry: p.registry, Admin: p.admin, Tracing: p.tracing, Now: time.Now,
		Platform: at, Election: election, Declared: p.declared.scalers(), History: foreshadowv1.NewHistoryServiceClient(conn),
	})
	return s, p.file.Provisioner.Admin, err
}

func buildConsole(p *process) (runner, string, error) {
	s, err := console.New(p.file.Console, console.Deps{
		RPC: p.rpc, Workloads: p.file.Workloads, Log: p.log, Registry: p.registry, Admin: p.admin,
	})
	return s, p.file.Console.Admin, err
}

// binary is the program that runs, for the children that are the same program.
func binary() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}
