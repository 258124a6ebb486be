package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnAccountWithoutAHomeHasACache(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(base, "cache"))
	t.Setenv("TMPDIR", filepath.Join(base, "tmp"))
	if got := defaultCache(); got != filepath.Join(base, "cache", "foreshadow") {
		t.Errorf("cache %q, want the user's", got)
	}
	file := filepath.Join(base, "file") // below which nobody makes a directory, not even root
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", file)
	if got := defaultCache(); !strings.HasPrefix(got, filepath.Join(base, "tmp")) {
		t.Errorf("cache %q, want one in the temporary directory", got)
	}
}
