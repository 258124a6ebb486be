package command

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform/docker"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/local"
	"github.com/foreshadow/foreshadow/libs/rpc"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/console"
	aggregator "github.com/foreshadow/foreshadow/services/metrics-aggregator"
	"github.com/foreshadow/foreshadow/services/predictor"
	"github.com/foreshadow/foreshadow/services/provisioner"
	"github.com/foreshadow/foreshadow/services/replicator"
	shadowrunner "github.com/foreshadow/foreshadow/services/shadow-runner"
)

// file is the one configuration file: what the user declares, and a section per room.
type file struct {
	Workloads      []workload.Workload `yaml:"workloads"`
	Kafka          kafka.Config        `yaml:"kafka"`
	Database       database            `yaml:"database"`
	Telemetry      telemetry.Config    `yaml:"telemetry"`
	RPC            rpc.Config          `yaml:"rpc"`
	LocalPlatform  local.AgentConfig   `yaml:"local_platform"`
	DockerPlatform docker.AgentConfig  `yaml:"docker_platform"`
	Kubernetes     kubernetes.Config   `yaml:"kubernetes"`
	Replicator     replicator.Config   `yaml:"replicator"`
	ShadowRunner   shadowrunner.Config `yaml:"shadow_runner"`
	Aggregator     aggregator.Config   `yaml:"metrics_aggregator"`
	Predictor      predictor.Config    `yaml:"predictor"`
	Provisioner    provisioner.Config  `yaml:"provisioner"`
	Console        console.Config      `yaml:"console"`

	path string
	text []byte
}

type database struct {
	// URL of PostgreSQL or TimescaleDB.
	URL workload.Secret `yaml:"url"`
}

func defaultFile() file {
	return file{
		Kafka: kafka.Default(), Telemetry: telemetry.DefaultConfig(), RPC: rpc.Default(), LocalPlatform: local.DefaultAgentConfig(),
		DockerPlatform: docker.DefaultAgentConfig(), Kubernetes: kubernetes.DefaultConfig(),
		Database:   database{URL: "postgres://foreshadow@127.0.0.1:5432/foreshadow"},
		Replicator: replicator.DefaultConfig(), ShadowRunner: shadowrunner.DefaultConfig(), Aggregator: aggregator.DefaultConfig(),
		Predictor: predictor.DefaultConfig(), Provisioner: provisioner.DefaultConfig(), Console: console.DefaultConfig(),
	}
}

// validate reports every fault of the file at once.
func (f file) validate() error {
	var errs []error
	if len(f.Workloads) == 0 && f.Kubernetes.ShadowScalers == "" {
		errs = append(errs, errors.New("workloads: is missing: say which service to scale"))
	}
	seen := map[string]bool{}
	for i, w := range f.Workloads {
		errs = append(errs, prefixed(fmt.Sprintf("workloads[%d].", i), w.Validate()))
		if seen[w.Name] {
			errs = append(errs, fmt.Errorf("workloads[%d].name: %q is given twice", i, w.Name))
		}
		seen[w.Name] = true
	}
	errs = append(errs, renamed("kafka ", "kafka.", f.Kafka.Validate()), prefixed("telemetry.", f.Telemetry.Validate()),
		prefixed("local_platform.", f.LocalPlatform.Validate()), prefixed("docker_platform.", f.DockerPlatform.Validate()),
		prefixed("kubernetes.", f.Kubernetes.Validate()),
		prefixed("rpc.", f.RPC.Validate()), f.validateGroups(), f.validateAllowed(), f.validateListen(), f.validatePorts())
	errs = append(errs, f.Replicator.Validate(), f.ShadowRunner.Validate(),
		renamed("metrics_aggregator.database url", "database.url", prefixed("metrics_aggregator.", f.Aggregator.Validate())),
		f.Predictor.Validate(), f.Provisioner.Validate(), f.Console.Validate())
	return errors.Join(errs...)
}

// validateGroups refuses that two workloads size one production, or that the shadow of one is the production of another.
func (f file) validateGroups() error {
	var errs []error
	owners := map[string]string{} // of the groups of production
	for i, w := range f.Workloads {
		key, group := fmt.Sprintf("workloads[%d].production.group", i), w.Production.Group
		if other := owners[group]; other != "" {
			errs = append(errs, fmt.Errorf("%s: %q is %s, too: both would size it", key, group, other))
		} else if group != "" {
			owners[group] = key
		}
	}
	for i, w := range f.Workloads {
		if other := owners[w.Shadow.Group]; other != "" && w.Shadow.Group != w.Production.Group {
			errs = append(errs, fmt.Errorf("workloads[%d].shadow.group: %q is %s: a shadow request would reach production", i, w.Shadow.Group, other))
		}
	}
	return errors.Join(errs...)
}

// validateListen refuses gRPC servers that others would reach in plain text, before one of them finds out by itself.
func (f file) validateListen() error {
	var errs []error
	for _, l := range []struct{ section, address string }{
		{"shadow_runner", f.ShadowRunner.Listen}, {"metrics_aggregator", f.Aggregator.Listen}, {"predictor", f.Predictor.Listen},
		{"provisioner", f.Provisioner.Listen},
	} {
		if _, _, err := net.SplitHostPort(l.address); err != nil {
			continue // the section says so itself
		}
		errs = append(errs, prefixed(l.section+".listen: ", f.RPC.CheckListen(l.address)))
	}
	return errors.Join(errs...)
}

// validateAllowed refuses rules about services and methods that do not exist: one that is misspelt would leave the service it
// means open to everyone.
func (f file) validateAllowed() error {
	var errs []error
	for i, r := range f.RPC.Allow {
		name, method, one := strings.Cut(r.Service, "/")
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		service, is := found.(protoreflect.ServiceDescriptor)
		switch {
		case r.Service == "" || strings.HasPrefix(r.Service, "/"): // the section says so itself
		case err != nil || !is:
			errs = append(errs, fmt.Errorf("rpc.allow[%d].service: there is no %q; there are %s", i, name, strings.Join(ownServices(), ", ")))
		case one && service.Methods().ByName(protoreflect.Name(method)) == nil:
			errs = append(errs, fmt.Errorf("rpc.allow[%d].service: %s has no method %q", i, name, method))
		}
	}
	return errors.Join(errs...)
}

// ownServices are the names of the gRPC services that this program serves, health and reflection aside.
func ownServices() []string {
	var out []string
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if at := file.Package(); at == "foreshadow.v1" || at == "externalscaler" {
			for i := range file.Services().Len() {
				out = append(out, string(file.Services().Get(i).FullName()))
			}
		}
		return true
	})
	slices.Sort(out)
	return out
}

// load reads and validates the file of the --config flag.
func load(path string) (file, error) {
	f := defaultFile()
	if path == "" {
		return f, usageError{errors.New("--config is missing: name the configuration file")}
	}
	var err error
	if f.text, err = workload.Load(path, os.Environ(), &f); err != nil {
		return f, usageError{err}
	}
	f.path, f.Aggregator.Database = path, f.Database.URL
	if err := f.validate(); err != nil {
		return f, f.located(err)
	}
	return f, nil
}

// located is a usage error that says where in the file, or in the environment, each fault is.
func (f file) located(faults error) error {
	return usageError{workload.Locate(f.path, f.text, os.Environ(), faults)}
}

// prefixed puts a prefix before each of the joined errors.
func prefixed(prefix string, err error) error {
	if err == nil {
		return nil
	}
	return errors.New(prefix + strings.ReplaceAll(err.Error(), "\n", "\n"+prefix))
}

// renamed puts the name of a key where a room, which does not know its section, says it in words; nil stays nil.
func renamed(words, key string, err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll("\n"+err.Error(), "\n"+words, "\n"+key)[1:])
}

func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("config", "", "configuration file")
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Check the configuration file", Args: noArgs,
		Long: `Reads the configuration file as every service does, with FORESHADOW_<SECTION>_<KEY> of the environment over its keys, and
says in one line per mistake where it is and what is wanted there.`,
		Example: "  foreshadow config --config shop.yaml",
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := load(*path)
		if err != nil {
			return err
		}
		if err := f.validateApart(); err != nil {
			return f.located(err)
		}
		var declared []string
		for _, w := range f.Workloads {
			declared = append(declared, fmt.Sprintf("%s (%s)", w.Name, w.Guardrails.Mode))
		}
		if f.Kubernetes.ShadowScalers != "" {
			declared = append(declared, "the ShadowScalers of namespace "+f.Kubernetes.ShadowScalers)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %s\n", *path, strings.Join(declared, ", "))
		return err
	}
	return cmd
}
