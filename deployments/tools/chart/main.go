// Command chart checks and renders the Helm chart with Helm's own packages: lint as `helm lint`, template as `helm template`.
// It is a module of its own, because only the tests of the chart need Helm.
//
//	chart lint DIR [VALUES.yaml]
//	chart template DIR [VALUES.yaml]
package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/engine"
)

// namespace and release of what is rendered.
const namespace, release = "foreshadow", "foreshadow"

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) < 2 {
		return errors.New("usage: chart lint|template DIR [VALUES.yaml]")
	}
	values := common.Values{}
	if len(args) > 2 {
		var err error
		if values, err = common.ReadValuesFile(args[2]); err != nil {
			return fmt.Errorf("read values: %w", err)
		}
	}
	switch args[0] {
	case "lint":
		return check(args[1], values, out)
	case "template":
		return template(args[1], values, out)
	default:
		return fmt.Errorf("%q is neither lint nor template", args[0])
	}
}

func check(dir string, values common.Values, out io.Writer) error {
	linter := lint.RunAll(dir, values, namespace)
	for _, m := range linter.Messages {
		fmt.Fprintln(out, m)
	}
	if linter.HighestSeverity > support.InfoSev {
		return errors.New("the chart has faults")
	}
	return nil
}

// template writes the objects in the order of their files.
func template(dir string, values common.Values, out io.Writer) error {
	chart, err := loader.Load(dir)
	if err != nil {
		return fmt.Errorf("load chart: %w", err)
	}
	options := common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	render, err := commonutil.ToRenderValues(chart, values, options, nil)
	if err != nil {
		return fmt.Errorf("merge values: %w", err)
	}
	files, err := engine.Render(chart, render)
	if err != nil {
		return fmt.Errorf("render: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := strings.TrimSpace(files[name])
		if path.Ext(name) != ".yaml" || text == "" {
			continue
		}
		if _, err := fmt.Fprintf(out, "---\n# Source: %s\n%s\n", name, strings.TrimPrefix(text, "---\n")); err != nil {
			return err
		}
	}
	return nil
}
