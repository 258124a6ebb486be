package command

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEvaluateSaysWhatIsWrongBeforeItWorks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list, out := filepath.Join(dir, "list.csv"), filepath.Join(dir, "results.csv")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var series strings.Builder
	series.WriteString("timestamp,value\n")
	for i := range 10 * 24 {
		fmt.Fprintf(&series, "%d,%d\n", 1767571200+3600*i, 100+i%24+i%7)
	}
	write(filepath.Join(dir, "days.csv"), series.String())
	write(list, "name,file,agg,m,mw,h,hist\ndays,days.csv,1,24,168,6,150\n")
	base := []string{"evaluate", "--series", list, "--dir", dir, "--origins", "2", "--out", out}
	for want, more := range map[string][]string{
		"--series is missing":                   {"--series", ""},
		"--origins 0: must be positive":         {"--origins", "0"},
		"--out: write " + dir + "/no/r.csv: no": {"--out", filepath.Join(dir, "no", "r.csv")},
		`has no series "nights"`:                {"--only", "nights"},
		`method "bogus": there is no such`:      {"--method", "bogus"},
		"open series days":                      {"--dir", dir + "x"},
	} {
		var stdout, stderr bytes.Buffer
		if code := Main(append(base[:len(base):len(base)], more...), &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), want) ||
			strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%v: exit code %d, want 2 and one line about %q:\n%s", more, code, want, stderr.String())
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v left results", more)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := Main(append(base, "--method", "snaive"), &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	results, err := os.ReadFile(out)
	if err != nil || strings.Count(string(results), "\n") != 1+2*6 || !strings.HasPrefix(string(results), "series,method,origin,h,y,mean,q95,seconds\ndays,snaive,150,1,") {
		t.Errorf("%v, results:\n%s", err, results)
	}
}
