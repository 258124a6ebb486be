package forecast

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFingerprintCoversTheCode(t *testing.T) {
	t.Parallel()
	a, err := Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := Fingerprint(); a != b || len(a) != 64 {
		t.Errorf("fingerprints %q and %q of the same code", a, b)
	}
	// Every file that can change a forecast is in it; the evaluation only looks at forecasts.
	for _, dir := range []string{".", "calendar", "internal"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && dir == "." && path != ".":
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go"):
				return nil
			}
			want, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if got, err := fs.ReadFile(sources, path); err != nil || string(got) != string(want) {
				t.Errorf("%s is not covered: %v", path, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
