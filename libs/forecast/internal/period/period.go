// Package period finds the cycles of a series: how long they are, in points, and whether they are real.
package period

import (
	"slices"

	"gonum.org/v1/gonum/dsp/fourier"
)

const (
	minCycles = 3    // a cycle seen less often is not one yet
	minGain   = 0.08 // share of the variance a cycle must explain in cycles it was not learnt from
	minHinted = 0.03 // the same for a length that is likely beforehand
	shorter   = 0.02 // what a longer multiple must add before it is preferred
)

// Detect returns up to two cycle lengths in points, ascending: the one that explains most, and one more: a hint that explains
// what the first leaves (the week beside the day), else one that repeats within it, else any that explains what it leaves.
// y must be finite. hints are lengths worth trying (a day, a week); they must show in the data like any other.
func Detect(y []float64, hints []int) []int {
	if len(y) < 4*minCycles {
		return nil
	}
	x := flatten(y)
	all := candidates(x, hints)
	main := strongest(x, all, hints)
	if main == 0 {
		return nil
	}
	other := second(x, main, all, hints)
	if other == 0 || similar(other, main) {
		return []int{main}
	}
	return []int{min(main, other), max(main, other)}
}

// second is the cycle worth having beside the main one, 0 for none.
func second(x []float64, main int, candidatesOfAll, hints []int) int {
	rest := deseason(x, main)
	if m := strongest(rest, likely(len(x), hints, main), hints); m > 0 {
		return m
	}
	within := slices.DeleteFunc(candidatesOfAll, func(m int) bool { return m > main/2 })
	if m := strongest(x, within, hints); m > 0 && strength(x, m) > strength(x, main)/2 {
		return m
	}
	return strongest(rest, candidates(rest, nil), nil)
}

// likely are the hints that a history of n points can show and that are not the main cycle.
func likely(n int, hints []int, main int) []int {
	var out []int
	for _, m := range hints {
		if m >= 2 && m <= n/minCycles && !similar(m, main) {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return out
}

// flatten removes the linear trend and clips outliers, which would otherwise own the spectrum.
func flatten(y []float64) []float64 {
	n := float64(len(y))
	var sy, sty float64
	for i, v := range y {
		t := float64(i) - (n-1)/2
		sy += v
		sty += t * v
	}
	slope := sty / (n * (n*n - 1) / 12)
	x := make([]float64, len(y))
	for i, v := range y {
		x[i] = v - sy/n - slope*(float64(i)-(n-1)/2)
	}
	sorted := slices.Clone(x)
	slices.Sort(sorted)
	lo, hi := sorted[len(x)/100], sorted[len(x)-1-len(x)/100]
	for i, v := range x {
		x[i] = min(max(v, lo), hi)
	}
	return x
}

// candidates are the peaks of the autocorrelation nearest to the strongest spectral lines, and the hints.
func candidates(x []float64, hints []int) []int {
	n := len(x)
	padded := make([]float64, 2*n)
	copy(padded, x)
	fft := fourier.NewFFT(2 * n)
	spectrum := fft.Coefficients(nil, padded)
	power := make([]float64, len(spectrum))
	for i, c := range spectrum {
		power[i] = real(c)*real(c) + imag(c)*imag(c)
		spectrum[i] = complex(power[i], 0)
	}
	acf := fft.Sequence(nil, spectrum)[:n]
	for lag := range acf {
		acf[lag] /= float64(n - lag) // unbiased, so that long cycles are not at a disadvantage
	}
	longest := n / minCycles
	var out []int
	for range 8 {
		best := 0
		for i := 2 * minCycles; i < len(power); i++ {
			if power[i] > power[max(best, 1)] || best == 0 {
				best = i
			}
		}
		if best == 0 || power[best] <= 0 {
			break
		}
		for i := max(best-2, 0); i <= min(best+2, len(power)-1); i++ {
			power[i] = 0
		}
		for multiple := 1; multiple <= 2; multiple++ {
			if m := climb(acf, multiple*2*n/best, longest); m >= 2 {
				out = append(out, m)
			}
		}
	}
	slices.Sort(out)
	return refine(x, slices.Compact(out), hints)
}

// climb walks to the nearest local maximum of the autocorrelation, because spectral lines are coarse for long cycles.
func climb(acf []float64, lag, longest int) int {
	reach := max(1, lag/8)
	best := lag
	for l := max(2, lag-reach); l <= lag+reach && l <= longest && l < len(acf); l++ {
		if best > longest || acf[l] > acf[best] {
			best = l
		}
	}
	if best > longest {
		return 0
	}
	return best
}

// strongest returns the candidate that explains most, preferring a hint of about the same length, and a much shorter one that
// explains about as much; 0 when none explains enough.
func strongest(x []float64, candidates, hints []int) int {
	gains := make([]float64, len(candidates))
	most := 0.0
	for i, m := range candidates {
		gains[i] = explained(x, m)
		least := minGain
		if slices.Contains(hints, m) {
			least = minHinted
		}
		if gains[i] < least {
			gains[i] = 0
		}
		most = max(most, gains[i])
	}
	for i, m := range candidates { // ascending
		if gains[i] == 0 || gains[i] < most-shorter {
			continue
		}
		best := i
		for j, c := range candidates {
			if similar(c, m) && gains[j] > gains[best] {
				best = j
			}
		}
		for j, c := range candidates {
			if slices.Contains(hints, c) && similar(c, m) && gains[j] > gains[best]/2 {
				return c
			}
		}
		return candidates[best]
	}
	return 0
}

// strength is the variance of the mean cycle of m points.
func strength(x []float64, m int) float64 {
	sum := 0.0
	rest := deseason(x, m)
	for i, v := range x {
		d := v - rest[i]
		sum += d * d
	}
	return sum
}

// similar says that two lengths are the same cycle, measured with an error.
func similar(a, b int) bool { return 4*min(a, b) > 3*max(a, b) }

// refine walks each candidate to the length nearby that explains most: the autocorrelation of a short cycle is tilted by the
// slower ones.
func refine(x []float64, candidates, hints []int) []int {
	longest := len(x) / minCycles
	var out []int
	for _, m := range candidates {
		gain := explained(x, m)
		for _, direction := range []int{-1, 1} {
			for reach := max(2, m/64); reach > 0; reach /= 2 {
				for next := m + direction*reach; next >= 2 && next <= longest; next += direction * reach {
					g := explained(x, next)
					if g <= gain {
						break
					}
					m, gain = next, g
				}
			}
		}
		out = append(out, m)
	}
	for _, m := range hints {
		if m >= 2 && m <= longest {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// explained is the share of the variance that the mean of the other cycles predicts, at its best scale, after a moving level
// of one cycle has been taken out. Leaving each cycle out of its own prediction keeps it honest: noise scores about zero.
func explained(x []float64, m int) float64 {
	level := movingMean(x, m)
	sum, count := make([]float64, m), make([]float64, m)
	phase := 0
	for i, v := range x {
		level[i] = v - level[i]
		sum[phase] += level[i]
		count[phase]++
		if phase++; phase == m {
			phase = 0
		}
	}
	var own, both, other float64
	phase = 0
	for _, d := range level {
		if c := count[phase]; c > 1 {
			o := (sum[phase] - d) / (c - 1)
			own += d * d
			both += d * o
			other += o * o
		}
		if phase++; phase == m {
			phase = 0
		}
	}
	if both <= 0 || own <= 0 || other <= 0 {
		return 0
	}
	return both / own * (both / other)
}

// deseason removes the mean cycle of length m.
func deseason(x []float64, m int) []float64 {
	sum, count := make([]float64, m), make([]float64, m)
	for i, v := range x {
		sum[i%m] += v
		count[i%m]++
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v - sum[i%m]/count[i%m]
	}
	return out
}

// movingMean is the centred mean over one cycle, shortened at the ends.
func movingMean(x []float64, m int) []float64 {
	prefix := make([]float64, len(x)+1)
	for i, v := range x {
		prefix[i+1] = prefix[i] + v
	}
	out := make([]float64, len(x))
	for i := range x {
		from, to := i-m/2, i-m/2+m
		if from < 0 {
			from, to = 0, min(m, len(x))
		}
		if to > len(x) {
			from, to = max(0, len(x)-m), len(x)
		}
		out[i] = (prefix[to] - prefix[from]) / float64(to-from)
	}
	return out
}
