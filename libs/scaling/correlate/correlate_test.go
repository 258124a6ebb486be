package correlate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sajari/regression"
	"gonum.org/v1/gonum/mat"
)

// traffic returns n rows of p strata that vary on their own, and a usage of base + costs*rates + noise.
func traffic(n int, base float64, costs []float64, noise float64) Observations {
	rng := rand.New(rand.NewPCG(3, 14))
	o := Observations{Rates: make([][]float64, n)}
	usage := make([]float64, n)
	for j := range costs {
		o.Strata = append(o.Strata, fmt.Sprintf("s%d", j))
	}
	for i := range o.Rates {
		o.Rates[i] = make([]float64, len(costs))
		usage[i] = base + noise*rng.NormFloat64()
		for j, c := range costs {
			o.Rates[i][j] = 100 * rng.Float64() * float64(j+1)
			usage[i] += c * o.Rates[i][j]
		}
	}
	o.Resources = []Resource{{Name: "cpu", Usage: usage}}
	return o
}

func fitCPU(t *testing.T, o Observations, opt Options) Cost {
	t.Helper()
	m, err := Fit(o, opt)
	if err != nil {
		t.Fatal(err)
	}
	return m.Resources[0]
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*(math.Abs(a)+math.Abs(b)) }

func TestFitRecoversKnownCosts(t *testing.T) {
	t.Parallel()
	costs := []float64{0.01, 0.002, 0.03}
	c := fitCPU(t, traffic(500, 0.25, costs, 0), Options{})
	for j := range costs {
		if !near(c.PerRequest[j], costs[j], 1e-11) {
			t.Errorf("stratum %d costs %g, want %g", j, c.PerRequest[j], costs[j])
		}
	}
	if !near(c.Base, 0.25, 1e-9) || c.Diagnostics.R2 < 1-1e-12 || c.Diagnostics.Nonlinear || c.Lag != 0 {
		t.Errorf("base %g, diagnostics %+v, lag %d", c.Base, c.Diagnostics, c.Lag)
	}
}

// The reduced problem must have the answer of the whole: against the normal equations, and against the library itself
// fed with every row.
func TestReductionKeepsTheCoefficients(t *testing.T) {
	t.Parallel()
	o := traffic(300, 0.4, []float64{0.01, 0.02, 0.005, 0.03}, 0.2)
	c := fitCPU(t, o, Options{})

	n, p := len(o.Rates), len(o.Strata)
	x, y := mat.NewDense(n, p+1, nil), mat.NewVecDense(n, o.Resources[0].Usage)
	var whole regression.Regression
	for i, row := range o.Rates {
		x.Set(i, 0, 1)
		for j, v := range row {
			x.Set(i, j+1, v)
		}
		whole.Train(regression.DataPoint(y.AtVec(i), row))
	}
	var gram, right, normal mat.Dense
	gram.Mul(x.T(), x)
	right.Mul(x.T(), y)
	if err := normal.Solve(&gram, &right); err != nil {
		t.Fatal(err)
	}
	if err := whole.Run(); err != nil {
		t.Fatal(err)
	}
	for j, got := range append([]float64{c.Base}, c.PerRequest...) {
		if !near(got, normal.At(j, 0), 1e-10) {
			t.Errorf("coefficient %d is %.17g, the normal equations say %.17g", j, got, normal.At(j, 0))
		}
		if !near(got, whole.Coeff(j), 1e-13) {
			t.Errorf("coefficient %d is %.17g, the library on every row says %.17g", j, got, whole.Coeff(j))
		}
	}
	if !near(c.Diagnostics.R2, whole.R2, 1e-9) {
		t.Errorf("R2 %g, the library says %g", c.Diagnostics.R2, whole.R2)
	}
}

func TestStandardErrorsCoverTheTruth(t *testing.T) {
	t.Parallel()
	costs := []float64{0.01, 0.02}
	c := fitCPU(t, traffic(2000, 0.4, costs, 0.3), Options{})
	for j := range costs {
		// Textbook value: sigma / (sqrt(n) * std of the rates), strata being independent.
		want := 0.3 / (math.Sqrt(2000) * 100 * float64(j+1) / math.Sqrt(12))
		if math.Abs(c.StdErr[j]/want-1) > 0.1 || math.Abs(c.PerRequest[j]-costs[j]) > 4*want {
			t.Errorf("stratum %d: %g +- %g, want %g +- %g", j, c.PerRequest[j], c.StdErr[j], costs[j], want)
		}
	}
	if math.Abs(c.Diagnostics.ResidualStd/0.3-1) > 0.1 {
		t.Errorf("residual std %g, want 0.3", c.Diagnostics.ResidualStd)
	}
}

func TestCollinearIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(row []float64){
		"copy":        func(row []float64) { row[2] = 3 * row[0] },
		"sum":         func(row []float64) { row[2] = row[0] + 2*row[1] },
		"constant":    func(row []float64) { row[2] = 7 },
		"absent":      func(row []float64) { row[2] = 0 },
		"complement":  func(row []float64) { row[2] = 5000 - row[0] },
		"large level": func(row []float64) { row[2] = 1e9 },
	} {
		o := traffic(400, 1, []float64{0.1, 0.1, 0.1}, 0.1)
		for _, row := range o.Rates {
			spoil(row)
		}
		_, err := Fit(o, Options{})
		if !errors.Is(err, ErrCollinear) || !strings.Contains(err.Error(), `"s2"`) || !strings.Contains(err.Error(), "cpu") {
			t.Errorf("%s: error %v, want %v naming s2 and cpu", name, err, ErrCollinear)
		}
		if name != "copy" {
			continue
		}
		if !strings.Contains(err.Error(), `"s0"`) || strings.Contains(err.Error(), `"s1"`) {
			t.Errorf("copy: %v, want it to name s0 and not s1", err)
		}
		if _, err := Fit(o.Total(), Options{}); err != nil {
			t.Errorf("the total of the same traffic: %v", err)
		}
	}
}

func TestNoNegativeCost(t *testing.T) {
	t.Parallel()
	// s1 seems to lower usage: without it the best fit of s0 alone is wanted, not the old value of s0.
	o := traffic(400, 5, []float64{0.1, -0.02, 0.05}, 0.01)
	c := fitCPU(t, o, Options{})
	if c.PerRequest[1] != 0 || c.StdErr[1] != 0 {
		t.Errorf("cost %g +- %g for traffic that cannot help, want 0", c.PerRequest[1], c.StdErr[1])
	}
	alone := Observations{Strata: []string{"s0", "s2"}, Resources: o.Resources}
	for _, row := range o.Rates {
		alone.Rates = append(alone.Rates, []float64{row[0], row[2]})
	}
	want := fitCPU(t, alone, Options{})
	if !near(c.PerRequest[0], want.PerRequest[0], 1e-12) || !near(c.PerRequest[2], want.PerRequest[1], 1e-12) {
		t.Errorf("costs %v, want those without s1: %v", c.PerRequest, want.PerRequest)
	}
}

// The optimum over costs >= 0 is where every excluded stratum would only raise the error and every other has no slope.
func TestNonNegativeIsOptimal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		costs := make([]float64, 5)
		for j := range costs {
			costs[j] = rng.NormFloat64()
		}
		o := traffic(60, 500*rng.NormFloat64(), costs, 50)
		s := o.at(o.Resources[0], 0, 0)
		d := reduce(s, true)
		got, _, err := d.nonNegative()
		if err != nil {
			t.Fatal(err)
		}
		for j, c := range got {
			g := d.gradient(got, j) / d.columns[j] / math.Sqrt(columnSquares(d))
			if c < 0 || g > 1e-9 || (c > 0 && g < -1e-9) {
				t.Fatalf("cost %d is %g with slope %g among %v", j, c, g, got)
			}
		}
	}
}

func TestNoNegativeBase(t *testing.T) {
	t.Parallel()
	c := fitCPU(t, traffic(400, -3, []float64{0.1}, 0.01), Options{})
	if c.Base != 0 {
		t.Errorf("base %g, want 0", c.Base)
	}
	if u := c.Usage([]float64{0}); u != 0 {
		t.Errorf("idle usage %g, want 0", u)
	}
	// Through the origin: sum(xy)/sum(x^2).
	o := traffic(400, -3, []float64{0.1}, 0.01)
	var xy, xx float64
	for i, row := range o.Rates {
		xy += row[0] * o.Resources[0].Usage[i]
		xx += row[0] * row[0]
	}
	if !near(c.PerRequest[0], xy/xx, 1e-12) {
		t.Errorf("cost %g, want %g", c.PerRequest[0], xy/xx)
	}
}

func TestLagIsFound(t *testing.T) {
	t.Parallel()
	o := traffic(500, 1, []float64{0.1, 0.2}, 0.1)
	usage := o.Resources[0].Usage
	o.Resources[0].Usage = append([]float64{math.NaN(), math.NaN(), math.NaN()}, usage[:497]...)
	if c := fitCPU(t, o, Options{MaxLag: 5}); c.Lag != 3 || !near(c.PerRequest[0], 0.1, 0.02) {
		t.Errorf("lag %d, cost %g; want 3, 0.1", c.Lag, c.PerRequest[0])
	}
	o.Resources[0].Usage = usage
	if c := fitCPU(t, o, Options{MaxLag: 5}); c.Lag != 0 {
		t.Errorf("lag %d on immediate usage, want 0", c.Lag)
	}
}

func TestNonlinearIsFlagged(t *testing.T) {
	t.Parallel()
	o := traffic(400, 1, []float64{0.1, 0.05}, 0.3)
	if c := fitCPU(t, o, Options{}); c.Diagnostics.Nonlinear {
		t.Errorf("a line with noise is flagged: %+v", c.Diagnostics)
	}
	usage := o.Resources[0].Usage
	for i, u := range usage {
		usage[i] = u + 0.02*u*u
	}
	if c := fitCPU(t, o, Options{}); !c.Diagnostics.Nonlinear {
		t.Errorf("a curve is not flagged: %+v", c.Diagnostics)
	}
}

func TestMissingRowsAreDropped(t *testing.T) {
	t.Parallel()
	o := traffic(200, 1, []float64{0.1}, 0)
	o.Rates[3][0], o.Resources[0].Usage[9] = math.NaN(), math.Inf(1)
	o.Rates[20] = []float64{math.Inf(-1)}
	c := fitCPU(t, o, Options{})
	if c.Diagnostics.Rows != 197 || !near(c.PerRequest[0], 0.1, 1e-11) {
		t.Errorf("%d rows, cost %g; want 197, 0.1", c.Diagnostics.Rows, c.PerRequest[0])
	}
}

func TestFitRefusesBadShapes(t *testing.T) {
	t.Parallel()
	good := func() Observations { return traffic(20, 1, []float64{0.1, 0.2}, 0.1) }
	for name, tc := range map[string]struct {
		spoil func(*Observations)
		want  error
	}{
		"no strata":      {func(o *Observations) { o.Strata = nil }, ErrShape},
		"ragged row":     {func(o *Observations) { o.Rates[4] = o.Rates[4][:1] }, ErrShape},
		"short resource": {func(o *Observations) { o.Resources[0].Usage = o.Resources[0].Usage[:5] }, ErrShape},
		"few rows":       {func(o *Observations) { *o = traffic(5, 1, []float64{0.1, 0.2}, 0.1) }, ErrTooFew},
		"nothing known": {func(o *Observations) {
			for i := range o.Resources[0].Usage {
				o.Resources[0].Usage[i] = math.NaN()
			}
		}, ErrTooFew},
	} {
		o := good()
		tc.spoil(&o)
		if _, err := Fit(o, Options{}); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", name, err, tc.want)
		}
	}
	o := good()
	if _, err := Fit(o, Options{MaxLag: -4}); err != nil {
		t.Errorf("negative lag: %v, want it taken as none", err)
	}
}

func TestConstantUsage(t *testing.T) {
	t.Parallel()
	o := traffic(50, 3, []float64{0}, 0)
	c := fitCPU(t, o, Options{})
	if c.PerRequest[0] != 0 || !near(c.Base, 3, 1e-12) || c.Diagnostics.R2 != 0 || c.Diagnostics.Nonlinear {
		t.Errorf("constant usage gives %+v", c)
	}
}

func BenchmarkFit8000x8(b *testing.B) {
	o := traffic(8000, 1, []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}, 5)
	for b.Loop() {
		if _, err := Fit(o, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
