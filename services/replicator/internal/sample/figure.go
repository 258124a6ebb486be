package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
)

const (
	// Quantile is the one of latency that a figure is about, and the target is set for.
	Quantile = 0.95
	// The interval of 95 % is read off the replicates somewhat further out, for what they and the bins do not show.
	mixLevel = 0.985
	rankTail = 0.0075
)

// Figure is how well a sample shows the traffic it was taken from, at 95 % confidence.
type Figure struct {
	// Requests is how many requests the figure is about: those that might have been copied. Measured is how many of them
	// have a latency.
	Requests, Measured float64
	// Mix is the half-width of the interval of the mix: the total variation distance between the shares of the strata in
	// the weighted sample and in production is at most this, in [0, 1].
	Mix float64
	// Low and High are the interval of the weighted p95 in seconds; P95 is production's own. NaN when nothing was measured.
	Low, P95, High float64
	// DesignEffect is how many times the variance of the sample is that of as many requests drawn one by one: what sampling
	// whole sessions costs.
	DesignEffect float64
	// Span of the traffic looked at.
	Span time.Duration
}

// P95HalfWidth is the larger half of the interval of p95 as a share of p95; NaN when nothing was measured.
func (f Figure) P95HalfWidth() float64 {
	if !(f.P95 > 0) {
		return math.NaN()
	}
	return max(f.High/f.P95-1, 1-f.Low/f.P95)
}

// figure draws the sample anew from the population that was tracked, replicates times, and reads off how far mix and p95
// stray. rates are the inclusion probabilities by stratum.
func (p *population) figure(rates []float64, replicates int) Figure {
	f := Figure{
		Requests: p.all.total, Measured: float64(p.latency.Count()), DesignEffect: p.designEffect(rates),
		Low: math.NaN(), P95: math.NaN(), High: math.NaN(),
	}
	if p.all.total == 0 {
		return f
	}
	d := newDraw(p, rates)
	mixes, ranks := make([]float64, replicates), make([]float64, replicates)
	rng := rand.New(rand.NewPCG(1, 2)) // equal traffic gives equal figures
	for i := range replicates {
		d.again(rng)
		mixes[i], ranks[i] = d.mix(), d.rank()
	}
	f.Mix = quantile(mixes, mixLevel)
	if p.latency.Count() == 0 || p.all.measured == 0 {
		return f
	}
	low, high := quantile(ranks, rankTail), quantile(ranks, 1-rankTail)
	// Two sketches are compared, each of which is off by its accuracy at most.
	f.P95 = p.latency.Quantile(Quantile)
	f.Low = p.latency.Quantile(min(low, Quantile)) * (1 - metric.Accuracy)
	f.High = p.latency.Quantile(max(high, Quantile)) * (1 + metric.Accuracy)
	return f
}

// quantile sorts in place.
func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[min(int(math.Ceil(q*float64(len(values)))), len(values)-1)]
}

// draw is one sample after another from a population.
type draw struct {
	of    *population
	rates []float64
	// reach is the highest rate of each session: a session whose place is beyond it is not in the sample.
	reach []float64
	// light is the estimate from the light sessions alone; estimate is the whole.
	light, estimate totals
}

func newDraw(p *population, rates []float64) *draw {
	d := &draw{
		of: p, rates: rates, reach: make([]float64, len(p.drawn)),
		light: totals{requests: make([]float64, len(rates))}, estimate: totals{requests: make([]float64, len(rates))},
	}
	for i, cells := range p.drawn {
		for _, c := range cells {
			d.reach[i] = max(d.reach[i], rates[c.stratum])
		}
	}
	return d
}

func (d *draw) again(rng *rand.Rand) {
	for _, t := range []*totals{&d.light, &d.estimate} {
		clear(t.requests)
		t.total, t.bins, t.measured = 0, [bins]float64{}, 0
	}
	into := &d.estimate
	for i, cells := range d.of.drawn {
		if i == d.of.heavy {
			into = &d.light
		}
		u := rng.Float64()
		if u >= d.reach[i] {
			continue
		}
		for _, c := range cells {
			if rate := d.rates[c.stratum]; u < rate {
				into.add(c, 1/rate)
			}
		}
	}
	if d.of.heavy == len(d.of.drawn) {
		return
	}
	// The error of the light ones that were drawn has lightShare of the variance of the error of all light ones.
	grow := 1 / math.Sqrt(d.of.lightShare)
	d.estimate.total, d.estimate.measured = 0, 0
	for h := range d.estimate.requests {
		rest := d.of.rest.requests[h] + grow*(d.light.requests[h]-d.of.light.requests[h])
		d.estimate.requests[h] = max(0, d.estimate.requests[h]+rest)
		d.estimate.total += d.estimate.requests[h]
	}
	for b := range d.estimate.bins {
		rest := d.of.rest.bins[b] + grow*(d.light.bins[b]-d.of.light.bins[b])
		d.estimate.bins[b] = max(0, d.estimate.bins[b]+rest)
		d.estimate.measured += d.estimate.bins[b]
	}
}

// mix is the total variation distance to the population; an empty sample shows nothing.
func (d *draw) mix() float64 {
	if d.estimate.total == 0 {
		return 1
	}
	sum := 0.0
	for i, n := range d.estimate.requests {
		sum += math.Abs(n/d.estimate.total - d.of.all.requests[i]/d.of.all.total)
	}
	return sum / 2
}

// rank is where in the population the sample's p95 lies, in [0, 1].
func (d *draw) rank() float64 {
	if d.estimate.measured == 0 {
		return 0
	}
	sample, all := 0.0, 0.0
	for b, n := range d.estimate.bins {
		share, whole := n/d.estimate.measured, d.of.all.bins[b]/d.of.all.measured
		if sample+share >= Quantile && share > 0 {
			return all + whole*(Quantile-sample)/share
		}
		sample += share
		all += whole
	}
	return 1
}
