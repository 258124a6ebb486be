package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// initArgs make a cluster that is the same on every machine. Trust is bounded by the socket directory.
var initArgs = []string{
	"--username=" + superuser, "--auth=trust", "--encoding=UTF8", "--locale=C",
	"--wal-segsize=1", // MiB: the 16 of the default are most of a fresh cluster, and copied for each test
	"--no-sync", "--no-instructions",
}

// ensureCluster makes cfg.DataDir a cluster unless it is one.
func ensureCluster(ctx context.Context, cfg PostgresConfig, bin binaries, acc account) error {
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "PG_VERSION")); err == nil {
		return nil
	}
	if entries, err := os.ReadDir(cfg.DataDir); err == nil && len(entries) > 0 {
		return fmt.Errorf("initialise postgres in %s: directory is neither empty nor a PostgreSQL cluster", cfg.DataDir)
	}
	template, err := ensureTemplate(ctx, cfg, bin, acc)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(cfg.DataDir), 0o755); err != nil { // #nosec G301: the server's user must pass
		return fmt.Errorf("initialise postgres: %w", err)
	}
	// Copied aside and renamed, so that a start that was killed leaves no half cluster behind.
	partial, err := os.MkdirTemp(filepath.Dir(cfg.DataDir), ".pgdata-")
	if err != nil {
		return fmt.Errorf("initialise postgres: %w", err)
	}
	defer os.RemoveAll(partial) // gone already after the rename
	if err := copyTree(partial, template, acc); err != nil {
		return fmt.Errorf("initialise postgres in %s: %w", cfg.DataDir, err)
	}
	if err := reachable(partial, acc); err != nil {
		return fmt.Errorf("initialise postgres in %s: %w", cfg.DataDir, err)
	}
	if !cfg.Unsafe {
		if err := runInitdb(ctx, bin, acc, "--sync-only", "--pgdata="+partial); err != nil {
			return err
		}
	}
	if err := os.Rename(partial, cfg.DataDir); err != nil {
		return fmt.Errorf("initialise postgres in %s: %w", cfg.DataDir, err)
	}
	return nil
}

// defaultCache is the user's cache directory; an account without a home that it can write has one in the temporary directory.
func defaultCache() string {
	if base, err := os.UserCacheDir(); err == nil {
		if own := filepath.Join(base, "foreshadow"); os.MkdirAll(own, 0o700) == nil {
			return own
		}
	}
	return filepath.Join(os.TempDir(), "foreshadow-cache-"+strconv.Itoa(os.Geteuid()), "foreshadow")
}

// ensureTemplate returns an initialised cluster to copy from. initdb takes seconds, a copy milliseconds.
func ensureTemplate(ctx context.Context, cfg PostgresConfig, bin binaries, acc account) (string, error) {
	cache := cfg.CacheDir
	if cache == "" {
		cache = defaultCache()
	}
	key := sha256.Sum256([]byte(bin.dir + "\n" + bin.version + "\n" + strings.Join(initArgs, "\n")))
	template := filepath.Join(cache, "postgres-"+hex.EncodeToString(key[:8]))
	if _, err := os.Stat(filepath.Join(template, "PG_VERSION")); err == nil {
		return template, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", fmt.Errorf("make postgres template: %w", err)
	}
	// initdb runs as the server's user, who may not enter the cache of this one: it works in /tmp.
	work, err := os.MkdirTemp("/tmp", "fspg-init-")
	if err != nil {
		return "", fmt.Errorf("make postgres template: %w", err)
	}
	defer os.RemoveAll(work)
	if err := acc.own(work); err != nil {
		return "", fmt.Errorf("make postgres template: %w", err)
	}
	data := filepath.Join(work, "data")
	if err := runInitdb(ctx, bin, acc, append([]string{"--pgdata=" + data}, initArgs...)...); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(cache, ".partial-")
	if err != nil {
		return "", fmt.Errorf("make postgres template: %w", err)
	}
	defer os.RemoveAll(partial)
	if err := copyTree(partial, data, account{}); err != nil {
		return "", fmt.Errorf("make postgres template: %w", err)
	}
	// Two processes may race here; the loser's rename fails because the winner's directory is not empty.
	if err := os.Rename(partial, template); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return "", fmt.Errorf("make postgres template: %w", err)
	}
	return template, nil
}

func runInitdb(ctx context.Context, bin binaries, acc account, args ...string) error {
	process, err := startProcess(acc, bin.path("initdb"), args...)
	if err != nil {
		return err
	}
	select {
	case <-process.done:
	case <-ctx.Done():
		return errors.Join(ctx.Err(), process.stop(context.WithoutCancel(ctx), time.Second, syscall.SIGKILL))
	}
	if process.err != nil {
		return fmt.Errorf("run %s as %s: %w: %s", bin.path("initdb"), acc.name, process.err, process.log)
	}
	return nil
}

// reachable tells which parent of dir the server's user cannot pass, where PostgreSQL would only say "permission
// denied" for the whole path.
func reachable(dir string, acc account) error {
	if !acc.change {
		return nil
	}
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("user %s, which PostgreSQL runs as because root may not, cannot pass %s: chmod o+x it or choose another directory", acc.name, parent)
		}
		if parent == filepath.Dir(parent) {
			return nil
		}
	}
}

// copyTree copies a cluster, readable by acc only. io.Copy lets the kernel copy, and share blocks where the file
// system can.
func copyTree(dst, src string, acc account) error {
	return filepath.WalkDir(src, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		target := filepath.Join(dst, rel)
		switch {
		case entry.IsDir():
			return acc.mkdir(target)
		case entry.Type().IsRegular():
			if err := copyFile(target, path); err != nil {
				return err
			}
			return acc.own(target)
		default:
			return fmt.Errorf("copy %s: neither file nor directory", path)
		}
	})
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close() // read only
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// awaitPredecessor deals with the lock file of a server that was killed, or is still ending because its parent
// was. PostgreSQL removes a stale one by itself, unless some other process has got that number in the meantime.
func awaitPredecessor(ctx context.Context, dataDir string) error {
	lock := filepath.Join(dataDir, "postmaster.pid")
	for {
		content, err := os.ReadFile(lock)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read postgres lock file: %w", err)
		}
		line, _, _ := strings.Cut(string(content), "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || !isPostgres(pid, dataDir) {
			return removeLocks(lock, filepath.Join(dataDir, ".s.PGSQL.5432.lock"))
		}
		// A predecessor whose parent has died is ending; one that is in use stays.
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("start postgres in %s: a server with process id %d is running on that directory", dataDir, pid)
		}
	}
}

func removeLocks(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove stale postgres lock file: %w", err)
		}
	}
	return nil
}
