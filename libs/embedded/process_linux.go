package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// procAttr makes the child run as acc and die with the thread that started it.
func procAttr(acc account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		// Its own group: a Ctrl-C at the terminal is for this program, which then stops the server in order.
		Setpgid: true,
		// SIGINT is PostgreSQL's fast shutdown: it rolls back what is open and leaves a clean directory.
		Pdeathsig: syscall.SIGINT,
	}
	if acc.change {
		attr.Credential = &syscall.Credential{Uid: uint32(acc.uid), Gid: uint32(acc.gid)} // #nosec G115: ids from the system are in range
	}
	return attr
}

// isPostgres tells whether pid is a PostgreSQL server on dataDir.
func isPostgres(pid int, dataDir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	comm, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil || strings.TrimSpace(string(comm)) != "postgres" {
		return false
	}
	// A server's working directory is its data directory. Who may not read the link has to believe the name.
	cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	real, err := filepath.EvalSymlinks(dataDir)
	return err == nil && cwd == real
}
