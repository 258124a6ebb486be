package evaluation

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// yesterday repeats the last day, with the normal quantile of its own past errors (R's forecast::snaive, which the public
// figures used).
func yesterday(window []float64, day, horizon int) (mean, upper []float64) {
	filled := fillLinear(window)
	sum, n := 0.0, 0
	for i := day; i < len(filled); i++ {
		d := filled[i] - filled[i-day]
		sum, n = sum+d*d, n+1
	}
	sigma := 0.0
	if n > 0 {
		sigma = math.Sqrt(sum / float64(n))
	}
	const normal95 = 1.6448536269514722
	for k := range horizon {
		cycles := k/day + 1
		v := filled[max(0, len(filled)+k-day*cycles)]
		mean = append(mean, v)
		upper = append(upper, v+normal95*sigma*math.Sqrt(float64(cycles)))
	}
	return mean, upper
}

func fillLinear(values []float64) []float64 {
	out := slices.Clone(values)
	last := -1
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		for j := last + 1; j < i; j++ {
			out[j] = v
			if last >= 0 {
				out[j] = values[last] + (v-values[last])*float64(j-last)/float64(i-last)
			}
		}
		last = i
	}
	for j := last + 1; j < len(out) && last >= 0; j++ {
		out[j] = values[last]
	}
	return out
}

// score sums up one series.
type score struct {
	n                                   int
	mae, pb, covered, naiveMAE, naivePB float64
	simpleMAE                           [len(simpleNames)]float64
	seconds                             float64
}

func scores(results []result) (names []string, byName map[string]*score) {
	byName = map[string]*score{}
	for _, r := range results {
		s := byName[r.task.Name]
		if s == nil {
			s = &score{}
			byName[r.task.Name] = s
			names = append(names, r.task.Name)
		}
		s.seconds = max(s.seconds, r.seconds)
		for k, y := range r.actual {
			if math.IsNaN(y) {
				continue
			}
			s.n++
			s.mae += math.Abs(y - r.mean[k])
			s.naiveMAE += math.Abs(y - r.naive[k])
			for i, m := range r.simple {
				s.simpleMAE[i] += math.Abs(y - m[k])
			}
			s.pb += pinball(y, r.upper[k])
			s.naivePB += pinball(y, r.naiveUp[k])
			if y <= r.upper[k] {
				s.covered++
			}
		}
	}
	return names, byName
}

// bestSimple is the least absolute error of the simple methods, and which it is.
func (s *score) bestSimple() (mae float64, name string) {
	best := 0
	for i, m := range s.simpleMAE {
		if m < s.simpleMAE[best] {
			best = i
		}
	}
	return s.simpleMAE[best], simpleNames[best]
}

// ofSimple is the error beside that of the best simple method; equal to it where neither errs.
func (s *score) ofSimple(simple float64) float64 {
	if s.mae == 0 && simple == 0 {
		return 1
	}
	return math.Exp(logRatio(s.mae, simple))
}

// ratio prints a quotient, a dash where there is none.
func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return strconv.FormatFloat(a/b, 'f', 3, 64)
}

func pinball(y, q float64) float64 {
	if y >= q {
		return level * (y - q)
	}
	return (1 - level) * (q - y)
}

// summarize prints one line per series and the geometric means, beside the public figures when they lie beside the list.
// "best simple" is the least error of the methods a user would run without any fitting, on the same origins.
func summarize(opt Options, results []result, stdout io.Writer) error {
	names, byName := scores(results)
	public, err := readBaselines(filepath.Join(filepath.Dir(opt.Series), "baselines.csv"), byName)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "series\trelMAE\trelPB\tcovered\tbest simple\t\tof it\tmax seconds\t")
	var mae, pb, covered, n float64
	var flat []string // series that repeat themselves exactly, of whose errors there is no ratio
	worse := 0
	for _, name := range names {
		s := byName[name]
		simple, method := s.bestSimple()
		share := s.ofSimple(simple)
		if share > tolerated {
			worse++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.3f\t%s\t%s\t%.2f\t%.3f\t\n", name, ratio(s.mae, s.naiveMAE), ratio(s.pb, s.naivePB),
			s.covered/float64(s.n), ratio(simple, s.naiveMAE), method, share, s.seconds)
		covered += s.covered
		n += float64(s.n)
		if s.naiveMAE == 0 || s.naivePB == 0 {
			flat = append(flat, name)
			continue
		}
		mae += logRatio(s.mae, s.naiveMAE)
		pb += logRatio(s.pb, s.naivePB)
	}
	means := "-\t-"
	if count := float64(len(names) - len(flat)); count > 0 {
		means = fmt.Sprintf("%.3f\t%.3f", math.Exp(mae/count), math.Exp(pb/count))
	}
	fmt.Fprintf(w, "%s\t%s\t%.3f\t\t\t\t\t\n", methodName(opt), means, covered/n)
	for _, b := range public.methods {
		fmt.Fprintf(w, "%s (%d series)\t%.3f\t%.3f\t%.3f\t\t\t\t\t\n", b.name, b.count, math.Exp(b.mae/float64(b.count)),
			math.Exp(b.pb/float64(b.count)), b.covered/float64(b.count))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	if len(flat) > 0 {
		fmt.Fprintf(stdout, "not in the means, because repeating yesterday makes no error on them: %s\n", strings.Join(flat, ", "))
	}
	_, err = fmt.Fprintf(stdout, "%d of %d series are worse than %.2f times their own best simple method\n", worse, len(names), tolerated)
	return err
}

// tolerated is how much worse than its best simple method a series may be forecast before it is counted.
const tolerated = 1.05

// logRatio is bounded, so that one series that is forecast perfectly does not decide a geometric mean.
func logRatio(a, b float64) float64 {
	const tiny = 1e-3
	if b <= 0 {
		b = math.SmallestNonzeroFloat64
	}
	return math.Log(min(max(a/b, tiny), 1/tiny))
}

// baselines are the public figures for the series that were run.
type baselines struct {
	methods []baseline
}

type baseline struct {
	name             string
	count            int
	mae, pb, covered float64
}

func readBaselines(path string, wanted map[string]*score) (baselines, error) {
	var out baselines
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("open public figures: %w", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return out, fmt.Errorf("read %s: %w", path, err)
	}
	column := map[string]int{}
	for i, row := range rows {
		if i == 0 {
			for j, name := range row {
				column[name] = j
			}
			continue
		}
		if err := out.add(row, column, wanted); err != nil {
			return out, fmt.Errorf("read %s: line %d: %w", path, i+1, err)
		}
	}
	slices.SortFunc(out.methods, func(a, b baseline) int {
		if a.mae/float64(a.count) < b.mae/float64(b.count) {
			return -1
		}
		return 1
	})
	return out, nil
}

func (b *baselines) add(row []string, column map[string]int, wanted map[string]*score) error {
	field := func(name string) string {
		if j, ok := column[name]; ok && j < len(row) {
			return row[j]
		}
		return ""
	}
	series, method := field("series"), field("method")
	if wanted[series] == nil {
		return nil
	}
	var v [3]float64
	for i, name := range []string{"relMAE", "relPB", "cov"} {
		var err error
		if v[i], err = strconv.ParseFloat(field(name), 64); err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
	}
	i := slices.IndexFunc(b.methods, func(m baseline) bool { return m.name == method })
	if i < 0 {
		b.methods = append(b.methods, baseline{name: method})
		i = len(b.methods) - 1
	}
	m := &b.methods[i]
	m.count++
	m.mae += logRatio(v[0], 1)
	m.pb += logRatio(v[1], 1)
	m.covered += v[2]
	return nil
}

func writeResults(out io.Writer, method string, results []result) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"series", "method", "origin", "h", "y", "mean", "q95", "seconds"}}
	number := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', 10, 64)
	}
	for _, r := range results {
		for k := range r.mean {
			rows = append(rows, []string{
				r.task.Name, method, strconv.Itoa(r.origin), strconv.Itoa(k + 1), number(r.actual[k]), number(r.mean[k]),
				number(r.upper[k]), strconv.FormatFloat(r.seconds, 'f', 4, 64),
			})
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
