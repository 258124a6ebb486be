//go:build !linux

package stack

import "os/exec"

// startBound starts a process. Only Linux can tie its life to this one's; elsewhere an ordered stop ends it.
func startBound(cmd *exec.Cmd) (release func(), err error) {
	return func() {}, cmd.Start()
}
