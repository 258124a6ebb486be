package scaling

import (
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// instanceLimit keeps a need within what an int32 on any platform can hold.
	instanceLimit = 1 << 30
	// grain keeps rounding noise from adding an instance.
	grain = 1e-9
	// z95 is the half-width of a 95 % interval in standard deviations.
	z95 = 1.959964
)

// known says whether v is a number a rate or share can have.
func known(v float64) bool { return v >= 0 && !math.IsInf(v, 1) }

// instancesFor returns how many instances carry a demand.
func instancesFor(demand, capacity float64) int {
	n := math.Ceil(demand/capacity - grain)
	if !(n < instanceLimit) {
		return instanceLimit
	}
	return int(n)
}

// counted returns what of a capacity may be counted on at a risk: the knee is already the highest rate within the SLO,
// so what is taken off is the uncertainty of its measurement and the unevenness of load balancing, not a flat share.
func (c Capacity) counted(risk, imbalance float64) float64 {
	value := c.PerSecond
	if known(c.Lower) && c.Lower > 0 && c.Lower < value {
		upper := value
		if known(c.Upper) && c.Upper > value {
			upper = c.Upper
		}
		half := max(value-c.Lower, (upper-c.Lower)/2)
		value = max(c.Lower, value-half/z95*normal(1-risk))
	}
	return value / (1 + imbalance)
}

func (c Capacity) usable() bool {
	return c.Source != CapacityUnknown && known(c.PerSecond) && c.PerSecond > 0
}

// normal returns the standard normal quantile, bounded to four standard deviations and never below the median.
func normal(level float64) float64 {
	if !(level > 0.5) {
		return 0
	}
	if level > 0.9999 {
		return 4
	}
	return distuv.UnitNormal.Quantile(level)
}

// at interpolates the demand of a level of quantiles that are all moved by a shift. Above the highest given level the distance
// from the median grows as that of a normal distribution; below the lowest it falls to nothing. False when any entry is
// impossible or there is none: half a forecast is no forecast.
func at(quantiles []Quantile, level, shift float64) (float64, bool) {
	below, above := -1, -1
	for i, q := range quantiles {
		if !known(q.PerSecond) || !(q.Level > 0 && q.Level < 1) {
			return 0, false
		}
		if q.Level <= level && (below < 0 || q.Level > quantiles[below].Level) {
			below = i
		}
		if q.Level >= level && (above < 0 || q.Level < quantiles[above].Level) {
			above = i
		}
	}
	switch {
	case below < 0 && above < 0:
		return 0, false
	case below < 0:
		return level / quantiles[above].Level * moved(quantiles[above].PerSecond, shift), true
	case above < 0:
		return moved(beyond(quantiles, quantiles[below], level), shift), true
	case below == above:
		return moved(quantiles[below].PerSecond, shift), true
	}
	lo, hi := quantiles[below], quantiles[above]
	return moved(lo.PerSecond+(level-lo.Level)/(hi.Level-lo.Level)*(hi.PerSecond-lo.PerSecond), shift), true
}

// moved is a demand moved by a shift, still one that can be.
func moved(demand, shift float64) float64 {
	return math.Min(math.Max(0, demand+shift), math.MaxFloat64)
}

// beyond extends the tail: the few errors a forecaster has seen do not reach the levels that a small risk asks for.
func beyond(quantiles []Quantile, top Quantile, level float64) float64 {
	lowest := top
	for _, q := range quantiles {
		if q.Level >= 0.5 && q.Level < lowest.Level {
			lowest = q
		}
	}
	if !(top.Level > lowest.Level && top.PerSecond > lowest.PerSecond) {
		return top.PerSecond
	}
	unit := distuv.UnitNormal
	from := unit.Quantile(lowest.Level)
	stretch := (unit.Quantile(min(level, 1-1e-12)) - from) / (unit.Quantile(top.Level) - from)
	return math.Min(lowest.PerSecond+stretch*(top.PerSecond-lowest.PerSecond), math.MaxFloat64)
}

// demandNow is the mean over the smoothing time before the newest point, the time that mean spans, and its age. False
// when the newest point is impossible or too old.
func demandNow(points []Point, c Config, now time.Time) (rate float64, span, age time.Duration, ok bool) {
	newest := -1
	for i, p := range points {
		if newest < 0 || !p.At.Before(points[newest].At) {
			newest = i
		}
	}
	if newest < 0 || !known(points[newest].PerSecond) {
		return 0, 0, 0, false
	}
	end := points[newest].At
	// A clock slightly ahead of ours is not a reason to distrust the value; one far ahead is.
	age = max(0, now.Sub(end))
	if age > c.DemandMaxAge || end.Sub(now) > c.DemandMaxAge {
		return 0, 0, age, false
	}
	n := 0
	for _, p := range points {
		if back := end.Sub(p.At); back < max(c.Smoothing, 1) && known(p.PerSecond) {
			n++
			rate += (p.PerSecond - rate) / float64(n)
			span = max(span, back)
		}
	}
	return rate, max(c.Smoothing, span), age, true
}
