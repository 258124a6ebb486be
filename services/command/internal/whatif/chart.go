package whatif

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	chartWidth, barHeight, barGap = 900.0, 18.0, 6.0
	labelWidth, headHeight        = 260.0, 24.0
)

// chart draws a bar per cell: the latency at the SLO's quantile on a logarithmic scale, its interval as a whisker.
func (r Report) chart() template.HTML {
	var cells []*foreshadowv1.ExperimentCell
	low, high := math.Inf(1), 0.0
	for _, c := range r.Experiment.GetCells() {
		if v := c.GetResult().GetLatencySeconds(); v > 0 {
			cells = append(cells, c)
			low, high = min(low, v), max(high, finite(v))
		}
	}
	if len(cells) == 0 {
		return ""
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low*0.9))), math.Pow(10, math.Ceil(math.Log10(high*1.1)))
	x := func(v float64) float64 {
		share := (math.Log10(min(max(v, low), high)) - math.Log10(low)) / (math.Log10(high) - math.Log10(low))
		return labelWidth + share*(chartWidth-labelWidth-20)
	}
	height := headHeight + float64(len(cells))*(barHeight+barGap) + 4
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-size="12" font-family="system-ui,sans-serif" role="img" aria-label="latency of each configuration under each load">`, chartWidth, height, chartWidth, height)
	for v := low; v <= high*1.001; v *= 10 {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.0f" x2="%.1f" y2="%.0f" stroke="#ddd"/><text x="%.1f" y="14" text-anchor="middle">%s</text>`, x(v), headHeight-4, x(v), height, x(v), tick(v))
	}
	for i, c := range cells {
		s, y, colour := c.GetResult(), headHeight+float64(i)*(barHeight+barGap), "#0072b2"
		if !s.GetSloMet() {
			colour = "#d55e00"
		}
		fmt.Fprintf(&b, `<text x="%.0f" y="%.1f" text-anchor="end">%s</text>`, labelWidth-8, y+13, template.HTMLEscapeString(c.GetConfiguration()+" / "+c.GetLoad()))
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.0f" fill="%s"/>`, labelWidth, y, max(1, x(s.GetLatencySeconds())-labelWidth), barHeight, colour)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#000"/>`, x(s.GetLowerLatencySeconds()), y+barHeight/2, x(s.GetUpperLatencySeconds()), y+barHeight/2)
	}
	b.WriteString("</svg><p>Latency at the quantile of the SLO, with its 95 % interval; blue met the SLO, orange did not.</p>")
	return template.HTML(b.String())
}

// finite leaves a tail that was never answered at the end of the scale.
func finite(v float64) float64 {
	if v >= math.MaxFloat32 {
		return 10
	}
	return v
}

func tick(seconds float64) string {
	if seconds < 0.9995 {
		return fmt.Sprintf("%.4g ms", seconds*1e3)
	}
	return fmt.Sprintf("%.4g s", seconds)
}
