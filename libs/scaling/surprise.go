package scaling

import "math"

// manner is how much of a surprise is believed to last until an instance asked for now is ready: of what the demand is above
// the expected, and of what it is below it, as the running step may still see its peak. Who is prompt orders as soon as anything
// takes more instances than there are; who is not, only for what they will meet.
type manner struct {
	rise, calm float64
	prompt     bool
}

// manners are tried on paper beside each other. Where demand is smooth a surprise is the beginning of something, and the first
// is right; where it is rough most of it has passed before a new instance could meet it, and what is spent on it is missing
// elsewhere. The first is in charge until another has done clearly better: it is the one that is right when nothing is as it was.
var manners = [...]manner{{rise: 1, calm: 0.3, prompt: true}, {rise: 0.3, calm: 0.1}}

// shift is what a surprise moves everything foreseen by.
func (m manner) shift(surprise float64) float64 {
	switch {
	case math.IsNaN(surprise) || math.IsInf(surprise, 0):
		return 0
	case surprise < 0:
		return m.calm * surprise
	}
	return m.rise * surprise
}

// wordShare is the share of the demand that a surprise must be to be worth a word.
const wordShare = 0.05

// discount says so when most of a surprise is not counted on.
func (d *decider) discount() {
	surprise := d.in.Forecast.Surprise
	if d.verdict.manner == 0 || !(surprise > wordShare*d.out.Evidence.Demand) || math.IsInf(surprise, 0) {
		return
	}
	d.out.Evidence.Surprise = surprise
	d.ground(Reason{Code: SurpriseDiscounted, to: int(math.Round(100 * manners[d.verdict.manner].rise))})
}
