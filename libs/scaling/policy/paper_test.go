package policy

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
)

// The HPA that a decision is compared with lives on paper: it never gets the fleet it asks for, and sees what the fleet of
// another meets. All the same it must do what it would have done, or its bill is no budget and its violations no bound.
func TestTheHPAOnPaperIsTheHPA(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	demands := map[string]func(tick int, last float64) float64{
		"waves": func(tick int, _ float64) float64 { return 15 * (2000 - 1500*math.Cos(2*math.Pi*float64(tick)/960)) },
		"noise": func(_ int, last float64) float64 {
			return math.Max(1000, math.Min(last*math.Exp(0.1*r.NormFloat64()), 90000))
		},
		"crowds":  func(tick int, _ float64) float64 { return 15 * []float64{100, 3000}[min(1, tick/37%9/8)] },
		"silence": func(tick int, _ float64) float64 { return 15 * []float64{0, 900}[tick/100%2] },
	}
	for name, next := range demands {
		for _, startup := range []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute} {
			demand, last := make([]float64, 5760), 20000.0
			for i := range demand {
				demand[i] = next(i, last)
				last = demand[i]
			}
			c := simulate.Default()
			c.Startup, c.Max = startup, 1000
			d := scaling.DefaultConfig()
			d.Imbalance, d.Smoothing = 0, 0
			spy := &paperSpy{Foreshadow: NewForeshadow(d, nil)}
			if _, err := simulate.Run(demand, c, spy); err != nil {
				t.Fatal(err)
			}
			truth, err := simulate.Run(demand, c, NewHPA(DefaultHPA()))
			if err != nil {
				t.Fatal(err)
			}
			same, paid, paper := 0, 0, 0
			for i, n := range spy.holds {
				if int(truth.Desired[i]) == n {
					same++
				}
				paid, paper = paid+int(truth.Desired[i]), paper+n
			}
			if share, cost := float64(same)/float64(len(demand)), float64(paper)/float64(paid); share < 0.995 || math.Abs(cost-1) > 0.005 {
				t.Errorf("%s, start-up %s: the same in %.3f of the ticks, at %.4f of the cost", name, startup, share, cost)
			}
		}
	}
}

// paperSpy notes what the HPA on paper holds.
type paperSpy struct {
	*Foreshadow
	holds []int
}

func (p *paperSpy) Decide(o *simulate.Observation) int {
	n := p.Foreshadow.Decide(o)
	p.holds = append(p.holds, p.Last().HPAInstances)
	return n
}
