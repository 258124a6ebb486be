package backtest

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// plot is a line chart as SVG.
type plot struct {
	title, x, y string
	logY        bool
	loX, hiX    float64 // fixed when they differ
	loY, hiY    float64 // the same
	percentY    bool
	none        float64 // what is at most this on y is drawn there, as none; 0: nothing is
	unit        float64 // of a second scale at the right, in those of y; 0 draws none
	unitName    string
	marks       [][2]float64 // points whose level and place are drawn across the chart
	lines       []line
}

type line struct {
	name, colour string
	dots, wide   bool
	points       [][2]float64 // NaN breaks the line
	titles       []string     // of the dots, for who points at one
	apart        []bool       // dots that the line leaves out; nil: none
	base         []float64    // what the area below the line reaches down to; nil: there is none
}

func (l *line) add(x, y float64) { l.points = append(l.points, [2]float64{x, y}) }

// addKnown breaks the line where the value is not known.
func (l *line) addKnown(x, y float64) {
	l.add(x, orUnknown(y))
}

// orUnknown reads what a report says of a value that is not known.
func orUnknown(v float64) float64 {
	if v < 0 {
		return math.NaN()
	}
	return v
}

const (
	width, height = 760.0, 340.0
	left, right   = 70.0, 214.0
	top, bottom   = 28.0, 44.0
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
		between := []float64{1}
		if s.hi < 100*s.lo {
			between = []float64{1, 2, 5}
		}
		for e := math.Floor(math.Log10(s.lo)); e <= math.Log10(s.hi); e++ {
			for _, m := range between {
				if v := m * math.Pow(10, e); v >= s.lo*(1-1e-9) && v <= s.hi*(1+1e-9) {
					out = append(out, v)
				}
			}
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
	for _, m := range p.marks {
		y.lo, y.hi = math.Min(y.lo, m[1]), math.Max(y.hi, m[1])
	}
	if !p.logY {
		y.lo = math.Min(y.lo, 0)
	}
	if p.loX != p.hiX {
		x.lo, x.hi = p.loX, p.hiX
	}
	if p.loY != p.hiY {
		y.lo, y.hi = p.loY, p.hiY
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

// shows says whether anything of a line lies within the chart.
func (p plot) shows(l line) bool {
	return slices.ContainsFunc(l.points, func(v [2]float64) bool { return !math.IsNaN(v[1]) && !p.outside(v[0]) })
}

func (p plot) svg() template.HTML {
	x, y := p.scales()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(describe(p)))
	p.axes(&b, x, y)
	for _, m := range p.marks {
		if p.outside(m[0]) {
			continue
		}
		fmt.Fprintf(&b, `<path class="mark" d="M%.1f %.1fV%.1fM%.1f %.1fH%.1f"/>`, x.at(m[0]), y.from, y.to, x.from, y.at(m[1]), x.to)
	}
	at := top
	for _, l := range p.lines {
		if !p.shows(l) {
			continue
		}
		p.draw(&b, l, x, y)
		fmt.Fprintf(&b, `<rect x="%g" y="%g" width="12" height="%d" fill="%s"/><text x="%g" y="%g">%s</text>`,
			width-right+38, at, l.thickness(), l.colour, width-right+56, at+6, template.HTMLEscapeString(l.name))
		at += 18
	}
	b.WriteString("</svg>")
	// Every piece of text above is escaped, and the numbers are formatted by us.
	return template.HTML(b.String()) //nolint:gosec // built from escaped parts
}

func (l line) thickness() int {
	switch {
	case l.base != nil:
		return 10
	case l.wide:
		return 5
	}
	return 3
}

func (p plot) axes(b *strings.Builder, x, y scale) {
	for _, v := range x.ticks() {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fV%.1f"/><text x="%.1f" y="%.1f" text-anchor="middle">%.4g</text>`,
			x.at(v), y.from, y.to, x.at(v), y.from+16, v)
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
			x.from, y.at(v), x.to, x.from-6, y.at(v)+4, p.level(v))
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text><text x="6" y="14">%s</text>`,
		(x.from+x.to)/2, height-8, template.HTMLEscapeString(p.x), template.HTMLEscapeString(p.y))
	if p.unit > 0 {
		second := scale{lo: y.lo / p.unit, hi: y.hi / p.unit, from: y.from, to: y.to}
		for _, v := range second.ticks() {
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%.4g</text>`, x.to+6, second.at(v)+4, v)
		}
		fmt.Fprintf(b, `<text x="%.1f" y="14" text-anchor="middle">%s</text>`, x.to, template.HTMLEscapeString(p.unitName))
	}
}

// level names a value of y.
func (p plot) level(v float64) string {
	switch {
	case p.none > 0 && v <= p.none*(1+1e-9):
		return "none"
	case p.percentY:
		return fmt.Sprintf("%.4g %%", 100*v)
	}
	return fmt.Sprintf("%.4g", v)
}

func (p plot) draw(b *strings.Builder, l line, x, y scale) {
	if l.base != nil {
		p.area(b, l, x, y)
		return
	}
	fmt.Fprintf(b, `<path fill="none" stroke="%s" stroke-width="%.1f" d="`, l.colour, float64(l.thickness())/2)
	pen := "M"
	for i, v := range l.points {
		if l.apart != nil && l.apart[i] {
			continue
		}
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
	for i, v := range l.points {
		if math.IsNaN(v[1]) || p.outside(v[0]) {
			continue
		}
		fill, radius := l.colour, 3.0
		if l.apart != nil && l.apart[i] {
			fill, radius = "#ffffff", 2.5
		}
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%g" fill="%s" stroke="%s">`, x.at(v[0]), y.at(v[1]), radius, fill, l.colour)
		if l.titles != nil {
			fmt.Fprintf(b, "<title>%s</title>", template.HTMLEscapeString(l.titles[i]))
		}
		b.WriteString("</circle>")
	}
}

// area fills what lies between a line and its base, in pieces where either is not known.
func (p plot) area(b *strings.Builder, l line, x, y scale) {
	known := func(i int) bool { return !math.IsNaN(l.points[i][1]) && !math.IsNaN(l.base[i]) }
	for i := 0; i < len(l.points); i++ {
		from := i
		for i < len(l.points) && known(i) {
			i++
		}
		if i == from {
			continue
		}
		fmt.Fprintf(b, `<path fill="%s" d="`, l.colour)
		pen := "M"
		for k := from; k < i; k++ {
			fmt.Fprintf(b, "%s%.1f %.1f", pen, x.at(l.points[k][0]), y.at(l.points[k][1]))
			pen = "L"
		}
		for k := i - 1; k >= from; k-- {
			fmt.Fprintf(b, "L%.1f %.1f", x.at(l.points[k][0]), y.at(l.base[k]))
		}
		b.WriteString(`Z"/>`)
	}
}
