// Command foreshadow scales a service before its users feel the load; see README.md.
package main

import (
	"os"

	"github.com/foreshadow/foreshadow/services/command"
)

func main() { os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr)) }
