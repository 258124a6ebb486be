package backtest

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// plot is a line chart as SVG.
type plot struct {
	title, x, y string
	logY        bool
	loX, hiX    float64 // fixed when they differ
	lines       []line
}

type line struct {
	name, colour string
	dots         bool
	points       [][2]float64 // NaN breaks the line
}

func (l *line) add(x, y float64) { l.points = append(l.points, [2]float64{x, y}) }

// addKnown breaks the line where the value is not known.
func (l *line) addKnown(x, y float64) {
	if y < 0 {
		y = math.NaN()
	}
	l.add(x, y)
}

const (
	width, height = 760.0, 340.0
	left, right   = 70.0, 190.0
	top, bottom   = 24.0, 44.0
)

type scale struct {
	lo, hi   float64
	from, to float64
	log      bool
}

func (s scale) at(v float64) float64 {
	lo, hi := s.lo, s.hi
	if s.log {
		v, lo, hi = math.Log10(v), math.Log10(lo), math.Log10(hi)
	}
	return s.from + (v-lo)/(hi-lo)*(s.to-s.from)
}

func (s scale) ticks() []float64 {
	var out []float64
	if s.log {
		for e := math.Ceil(math.Log10(s.lo)); e <= math.Log10(s.hi)+1e-9; e++ {
			out = append(out, math.Pow(10, e))
		}
		return out
	}
	step := math.Pow(10, math.Floor(math.Log10((s.hi-s.lo)/4)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (s.hi-s.lo)/(step*m) <= 6 {
			step *= m
			break
		}
	}
	for v := math.Ceil(s.lo/step) * step; v <= s.hi+step*1e-9; v += step {
		out = append(out, v)
	}
	return out
}

func (p plot) scales() (x, y scale) {
	x = scale{lo: math.Inf(1), hi: math.Inf(-1), from: left, to: width - right}
	y = scale{lo: math.Inf(1), hi: math.Inf(-1), from: height - bottom, to: top, log: p.logY}
	for _, l := range p.lines {
		for _, v := range l.points {
			if math.IsNaN(v[1]) || p.outside(v[0]) {
				continue
			}
			x.lo, x.hi = math.Min(x.lo, v[0]), math.Max(x.hi, v[0])
			y.lo, y.hi = math.Min(y.lo, v[1]), math.Max(y.hi, v[1])
		}
	}
	if p.loX != p.hiX {
		x.lo, x.hi = p.loX, p.hiX
	}
	if !p.logY {
		y.lo = math.Min(y.lo, 0)
	}
	return x.widened(), y.widened()
}

// widened gives an empty or single-valued axis an extent.
func (s scale) widened() scale {
	if !(s.lo <= s.hi) {
		s.lo, s.hi = 0, 1
	}
	switch {
	case s.log:
		s.lo, s.hi = s.lo/1.5, s.hi*1.5
	case s.lo == s.hi:
		s.hi = s.lo + 1
	}
	if s.log && !(s.lo > 0) {
		s.lo, s.hi = violationFloor, 1
	}
	return s
}

func (p plot) outside(x float64) bool { return p.loX != p.hiX && (x < p.loX || x > p.hiX) }

func (p plot) svg() template.HTML {
	x, y := p.scales()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(describe(p)))
	p.axes(&b, x, y)
	for i, l := range p.lines {
		p.draw(&b, l, x, y)
		at := top + 16*float64(i)
		fmt.Fprintf(&b, `<rect x="%g" y="%g" width="12" height="3" fill="%s"/><text x="%g" y="%g">%s</text>`,
			width-right+14, at, l.colour, width-right+32, at+6, template.HTMLEscapeString(l.name))
	}
	b.WriteString("</svg>")
	// Every piece of text above is escaped, and the numbers are formatted by us.
	return template.HTML(b.String()) //nolint:gosec // built from escaped parts
}

func (p plot) axes(b *strings.Builder, x, y scale) {
	for _, v := range x.ticks() {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fV%.1f"/><text x="%.1f" y="%.1f" text-anchor="middle">%.4g</text>`,
			x.at(v), y.from, y.to, x.at(v), y.from+16, v)
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%.4g</text>`,
			x.from, y.at(v), x.to, x.from-6, y.at(v)+4, v)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text><text x="6" y="14">%s</text>`,
		(x.from+x.to)/2, height-8, template.HTMLEscapeString(p.x), template.HTMLEscapeString(p.y))
}

func (p plot) draw(b *strings.Builder, l line, x, y scale) {
	fmt.Fprintf(b, `<path fill="none" stroke="%s" stroke-width="1.5" d="`, l.colour)
	pen := "M"
	for _, v := range l.points {
		if math.IsNaN(v[1]) || p.outside(v[0]) {
			pen = "M"
			continue
		}
		fmt.Fprintf(b, "%s%.1f %.1f", pen, x.at(v[0]), y.at(v[1]))
		pen = "L"
	}
	b.WriteString(`"/>`)
	if !l.dots {
		return
	}
	for _, v := range l.points {
		if !math.IsNaN(v[1]) && !p.outside(v[0]) {
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x.at(v[0]), y.at(v[1]), l.colour)
		}
	}
}
