// Package command is the wiring: it reads the one configuration file, makes the services, and gives each a command of the
// one binary. Exit codes: 0 done, 1 something could not be reached or failed, 2 wrong configuration or usage.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// usageError is a fault of the caller's: configuration, flags, arguments.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// Main runs one command and returns its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.SetOutput(io.Discard) // where net/http writes what an instance says beyond its answer: it is users' data
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "foreshadow:", strings.ReplaceAll(plain(err.Error()), "\n", "\nforeshadow: "))
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// What gRPC puts around what a service said, and around why it cannot be reached.
var (
	dialWords   = regexp.MustCompile(`rpc error: code = \w+ desc = connection error: desc = "(?:transport: Error while dialing: )?([^"]*)"`)
	statusWords = regexp.MustCompile(`rpc error: code = \w+ desc = `)
)

// plain takes the words of gRPC out of an error: people read it.
func plain(text string) string {
	return statusWords.ReplaceAllString(dialWords.ReplaceAllString(text, "$1"), "")
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "foreshadow",
		Short: "Scale a service before its users feel the load",
		Long: `Foreshadow copies a redacted sample of production traffic into an isolated shadow of the service, measures there
what one instance carries, forecasts the demand, and moves production to the right size ahead of time.

Start with: foreshadow demo`,
		SilenceUsage: true, SilenceErrors: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddGroup(
		&cobra.Group{ID: "try", Title: "Try it:"}, &cobra.Group{ID: "service", Title: "Services:"},
		&cobra.Group{ID: "ground", Title: "What the services stand on, on one machine:"}, &cobra.Group{ID: "tool", Title: "Tools:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("try", demoCommand(), upCommand())
	add("service", serviceCommands()...)
	add("ground", brokerCommand(), postgresCommand(), localPlatformCommand(), dockerPlatformCommand(), shopCommand(), usersCommand())
	add("tool", configCommand(), provisionCommand(), experimentCommand(), backtestCommand(), evaluateCommand(), versionCommand())
	return root
}

// noArgs refuses arguments as a usage error: each is a command that there is not, or what belongs to a flag.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasAvailableSubCommands() {
		return usageError{fmt.Errorf("%s takes flags, not %q; see %[1]s --help", cmd.CommandPath(), args[0])}
	}
	hint := "see " + cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = 2 // letters that differ
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, ", ") + "?"
	}
	return usageError{fmt.Errorf("unknown command %q for %q; %s", args[0], cmd.CommandPath(), hint)}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "foreshadow", version)
			return err
		},
	}
}
