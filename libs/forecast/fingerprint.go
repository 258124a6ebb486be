package forecast

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"runtime"
	"runtime/debug"
	"strings"
)

// sources is the code of the forecast, as it was compiled.
//
//go:embed *.go calendar internal
var sources embed.FS

// Fingerprint identifies the code that forecasts: its sources, the modules it is built with, the compiler and the processor.
// Programs of the same fingerprint make the same forecasts of the same history, so whoever keeps forecasts to use them again
// keeps it beside them. It changes with every edit, of a comment, too: what is kept must never outlive what made it.
func Fingerprint() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH)
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, m := range build.Deps {
			if strings.HasPrefix(m.Path, "gonum.org/") {
				fmt.Fprintln(h, m.Path, m.Version)
			}
		}
	}
	err := fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(sources, path)
		if err != nil {
			return err
		}
		fmt.Fprintln(h, path, len(text))
		_, err = h.Write(text)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the sources of the forecast: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
