package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// demandFile writes two days of a service that is busy by day.
func demandFile(t *testing.T, path string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("timestamp,value\n")
	for i := range 2 * 288 {
		v := 100
		if i%288 > 100 && i%288 < 200 {
			v = 1000
		}
		fmt.Fprintf(&b, "%d,%d\n", 1767571200+300*i, v+i%7)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBacktestRefusesMisuse: one line that says what is wrong, exit code 2, and no file that was not there before.
func TestBacktestRefusesMisuse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	csv, many, bad := filepath.Join(dir, "demand.csv"), filepath.Join(dir, "many"), filepath.Join(dir, "bad.csv")
	if err := os.Mkdir(many, 0o700); err != nil {
		t.Fatal(err)
	}
	demandFile(t, csv)
	demandFile(t, filepath.Join(many, "demand.csv"))
	if err := os.WriteFile(bad, []byte("timestamp,value\n1767571200,1\n1767571500,2\n1767571500,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	known := filepath.Join(dir, "known.yaml")
	if err := os.WriteFile(known, []byte("time_zone: Europe/Bern\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	html, data := filepath.Join(dir, "r.html"), filepath.Join(dir, "r.json")
	for _, tc := range []struct{ args, want string }{
		{"--csv " + bad, bad + ": line 4: timestamp 2026-01-05T00:05:00Z: appears twice"},
		{"--csv " + many, "is a directory, want a file"},
		{"--csv " + csv + " --tick 0", "tick 0s: must be positive"},
		{"--csv " + csv + " --tick 7m", "tick 7m0s: is no multiple of the step of 5m0s"},
		{"--csv " + csv + " --startup -5s", "startup -5s"},
		{"--csv " + csv + " --hpa 700", "hpa target 700 %"},
		{"--csv " + csv + " --policies oracle", `policies: "oracle" is none, there are Foreshadow`},
		{"--csv " + csv + " --fail-above -1", "--fail-above -1: want a share"},
		{"--csv " + csv + " --fail-above NaN", "--fail-above NaN: want a share"},
		{"--csv " + csv + " --json " + html, "both would be written to"},
		{"--csv " + csv + " --json " + dir, "--json: write " + dir + ": is a directory"},
		{"--csv " + csv + " --calendar " + known, known + ":1: time_zone: want a name such as Europe/Berlin"},
		{"--csv " + csv + " --calendar " + known + "x", "known.yamlx: no such file"},
		{"--csv " + csv + " --fleets 3", "--fleets: belongs to --dir"},
		{"--csv " + csv + " --last 3h", "--last: belongs to --prometheus and --history"},
		{"--csv " + csv + " --warmup 100h", "leaves nothing of the series to score"},
		{"--prometheus 127.0.0.1:9090 --query up", "want an address such as http://127.0.0.1:9090"},
		{"--prometheus http://127.0.0.1:1", "query is empty"},
		{"--prometheus http://127.0.0.1:1 --query up --header tenant", "header 1: want Name: value"},
		{"--csv " + csv + " --header A:b", "--header: belongs to --prometheus"},
	} {
		refused(t, tc.want, append([]string{"backtest", "--html", html, "--json", data}, strings.Fields(tc.args)...))
	}
	for _, tc := range []struct{ args, want string }{
		{"--dir " + many + " --fleets 40,0", "--startups 30s, --fleets 0: instances 0"},
		{"--dir " + many + " --startup 5s", "--startup: belongs to one demand, --dir takes --startups"},
		{"--dir " + many + "x", "--dir: open " + many + "x: no such file or directory"},
		{"--dir " + csv, "not a directory"},
		{"--dir " + dir, bad + ": line 4"},
	} {
		refused(t, tc.want, append([]string{"backtest", "--json", data}, strings.Fields(tc.args)...))
	}
	for _, path := range []string{html, data, html + ".part", data + ".part"} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left", path)
		}
	}
}

func refused(t *testing.T, want string, args []string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Main(args, &stdout, &stderr)
	if code != 2 || !strings.Contains(stderr.String(), want) || strings.Count(stderr.String(), "\n") != 1 || stdout.Len() > 0 {
		t.Errorf("%v: exit code %d, want 2 and one line about %q:\n%s%s", args, code, want, stderr.String(), stdout.String())
	}
}

// TestBacktestForCI: from a pipe, with the reports, and an exit code that follows the table.
func TestBacktestForCI(t *testing.T) {
	dir := t.TempDir()
	demand := demandFile(t, filepath.Join(dir, "demand.csv"))
	data, html := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.html")
	for limit, want := range map[string]int{"100": 0, "1e-9": 1} {
		var stdout, stderr bytes.Buffer
		root := newRoot()
		root.SetArgs([]string{"backtest", "--csv", "-", "--tick", "5m", "--policies", "Static", "--json", data, "--html", html, "--fail-above", limit, "--forecasts", filepath.Join(dir, "kept")})
		root.SetIn(strings.NewReader(demand))
		root.SetOut(&stdout)
		root.SetErr(&stderr)
		err := root.ExecuteContext(t.Context())
		var usage usageError
		if (err != nil) != (want == 1) || errors.As(err, &usage) {
			t.Errorf("--fail-above %s: %v", limit, err)
		}
		if stderr.Len() > 0 || !strings.Contains(stdout.String(), "Kubernetes HPA at target 70 %") {
			t.Errorf("--fail-above %s: drew %q, table:\n%s", limit, stderr.String(), stdout.String())
		}
		for path, want := range map[string]string{data: `"source": "standard input"`, html: "standard input"} {
			if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %s: %v", path, want, err)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limit, ratio float64
		want         string
	}{
		{0, 7, ""}, {0, -1, ""}, {0.5, 0.5, ""}, {0.5, 0.51, "violations at the HPA's cost are 0.510 of the HPA's, above the 0.5 allowed"},
		{0.5, -1, "no setting is as cheap as the HPA"}, {0.5, math.NaN(), "no setting is as cheap as the HPA"},
	} {
		err := backtesting{failAbove: tc.limit}.judge(tc.ratio)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%g allowed, %g: error %v, want %q", tc.limit, tc.ratio, err, tc.want)
		}
	}
}

func TestPlainly(t *testing.T) {
	t.Parallel()
	const dial = `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`
	for want, err := range map[string]error{
		"dial tcp 127.0.0.1:1: connect: connection refused": fmt.Errorf("read: %w", status.Error(codes.Unavailable, dial)),
		"workload: there is none of this name":              fmt.Errorf("read: %w", status.Error(codes.NotFound, "workload: there is none of this name")),
		"read: nothing was seen":                            errors.New("read: nothing was seen"),
	} {
		if got := plainly(err).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestWhatOthersSayIsNotLogged: net/http writes the first bytes of what a server says unasked to where package log writes.
func TestWhatOthersSayIsNotLogged(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log.SetOutput(write)
	if code := Main([]string{"version"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log.Print("Unsolicited response received on idle HTTP channel starting with secret")
	_ = write.Close()
	if said, err := io.ReadAll(read); err != nil || len(said) > 0 {
		t.Errorf("%q %v", said, err)
	}
}
