package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const chartDir = "../../kubernetes"

var update = flag.Bool("update", false, "rewrite the golden files")

// passwords are made anew each time.
var passwords = regexp.MustCompile(`(password: |foreshadow:)[A-Za-z0-9]{24}`)

func TestGoldens(t *testing.T) {
	t.Parallel()
	values, err := filepath.Glob("testdata/*.values.yaml")
	if err != nil || len(values) == 0 {
		t.Fatalf("no values: %v", err)
	}
	for _, file := range values {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			var lint, got bytes.Buffer
			if err := run([]string{"lint", chartDir, file}, &lint); err != nil {
				t.Fatalf("%v\n%s", err, lint.String())
			}
			if err := run([]string{"template", chartDir, file}, &got); err != nil {
				t.Fatal(err)
			}
			text := passwords.ReplaceAllString(got.String(), "${1}generated")
			golden := strings.TrimSuffix(file, ".values.yaml") + ".golden.yaml"
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("%s is not what the chart renders; go test -update rewrites it", golden)
			}
		})
	}
}

// TestTrialsAreGivenNoRightsWhereProductionIs: whoever may create a Deployment may have what its namespace lets a pod have.
func TestTrialsAreGivenNoRightsWhereProductionIs(t *testing.T) {
	t.Parallel()
	shop, err := os.ReadFile("testdata/shop.values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		old, next string
		roles     int
	}{
		"apart from production": {"", "", 1},
		"beside production":     {"namespace: shop-shadow", "namespace: shop", 0},
		"not asked for":         {"trials: {enabled: true}", "", 0},
		"of a StatefulSet":      {"namespace: shop-shadow,", "namespace: shop-shadow, kind: StatefulSet,", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(values, []byte(strings.ReplaceAll(string(shop), c.old, c.next)), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := run([]string{"template", chartDir, values}, &out); err != nil {
				t.Fatal(err)
			}
			for _, what := range []string{"kind: Role\nmetadata:\n  name: foreshadow-try\n", "kind: NetworkPolicy\nmetadata:\n  name: foreshadow-trials\n"} {
				if n := strings.Count(out.String(), what); n != c.roles {
					t.Errorf("%d times %q, want %d", n, what, c.roles)
				}
			}
		})
	}
}

func TestDefaultsAreLinted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run([]string{"lint", chartDir}, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestFaultsAreErrors(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no command": {}, "unknown command": {"install", chartDir}, "no chart": {"template", t.TempDir()}, "no values": {"template", chartDir, "missing.yaml"},
	} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
