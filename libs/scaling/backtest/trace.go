package backtest

import (
	"math"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

const (
	traceDays    = 3
	traceEntries = 720
)

// trace thins the last days. A chart of hundreds of points must not hide a short peak, so demand shows its highest and
// instances their lowest.
func trace(w world, f *outlook, foreshadow, reference *simulate.Result) Trace {
	tick := w.config.Tick
	n := len(w.demand)
	from := max(int(w.config.Warmup/tick), n-int(traceDays*24*time.Hour/tick))
	stride := max(1, (n-from)/traceEntries)
	out := Trace{Start: w.config.Start.Add(time.Duration(from) * tick), StepSeconds: float64(stride) * tick.Seconds()}
	for at := from; at+stride <= n; at += stride {
		demand, middle, upper := -1.0, -1.0, -1.0
		ready, other := math.Inf(1), math.Inf(1)
		for t := at; t < at+stride; t++ {
			if v := f.rates[t]; !math.IsNaN(v) {
				demand = math.Max(demand, v)
			}
			v := f.steps[t/f.repeat]
			middle, upper = math.Max(middle, level(v.lead[1], 0.5)), math.Max(upper, level(v.lead[1], 0.95))
			ready, other = math.Min(ready, float64(foreshadow.Ready[t])), math.Min(other, float64(reference.Ready[t]))
		}
		out.Demand = append(out.Demand, demand)
		out.Middle, out.Upper = append(out.Middle, middle), append(out.Upper, upper)
		out.Foreshadow, out.Reference = append(out.Foreshadow, ready), append(out.Reference, other)
	}
	return out
}

// level returns the demand of one of the kept levels, -1 when there is none.
func level(q []scaling.Quantile, want float64) float64 {
	for _, v := range q {
		if v.Level == want {
			return v.PerSecond
		}
	}
	return -1
}
