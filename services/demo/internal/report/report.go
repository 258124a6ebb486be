package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"text/tabwriter"
	"time"

	"github.com/foreshadow/foreshadow/libs/scaling/policy"
	"github.com/foreshadow/foreshadow/libs/scaling/simulate"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	// compression is how much faster than in the real world an instance and an autoscaler live in the demo: 4 s of start-up
	// stand for 60 s, a sync of 1 s for 15 s, metrics up to 4 s old for 60 s, 20 s of stabilisation for 300 s.
	compression = 15
	// kneeShare is how much of what an instance can do at full utilisation it carries within the SLO. The model is given
	// the measured knee; full utilisation, which the HPA's 70 % refer to, is set by this share for every policy alike.
	kneeShare = 0.85
)

// Row is one policy's result on the demand that users made.
type Row struct {
	Policy string `json:"policy"`
	// Source is measured (what users saw) or modelled (the same simulator for all).
	Source string `json:"source"`
	// Violations are requests that failed or were slower than the SLO.
	Violations float64 `json:"violating_requests"`
	// InstanceSeconds are paid for from the order of an instance to its release.
	InstanceSeconds float64 `json:"instance_seconds"`
	// ScaleUps and their lead: how long before the demand needed them the instances were ready; negative is late.
	ScaleUps []ScaleUp `json:"scale_ups"`
}

// ScaleUp is one growth of production.
type ScaleUp struct {
	Second int `json:"second"`
	From   int `json:"from_instances"`
	To     int `json:"to_instances"`
	// Needed says whether the demand came to need it; only then LeadSeconds means something.
	Needed      bool    `json:"needed"`
	LeadSeconds float64 `json:"lead_seconds"`
}

// Ramp is a stretch in which the demand came to need at least 3 more instances.
type Ramp struct {
	Begin int `json:"begin_second"`
	End   int `json:"end_second"`
	From  int `json:"from_needed"`
	To    int `json:"to_needed"`
	// Met says that at every second at least as many instances were ready as the demand needed.
	Met bool `json:"met"`
	// ShortSeconds is in how many seconds fewer were ready.
	ShortSeconds int `json:"short_seconds"`
}

// Decision is one recommendation.
type Decision struct {
	Second    float64  `json:"second"`
	Policy    string   `json:"policy"`
	Instances int      `json:"instances"`
	Reasons   []string `json:"reasons"`
}

// Report is the account.
type Report struct {
	Policy     string      `json:"policy"`
	Begin      time.Time   `json:"begin"`
	Seconds    int         `json:"seconds"`
	Requests   int         `json:"requests"`
	Capacity   float64     `json:"capacity_per_second"`
	Invariants []Invariant `json:"invariants"`
	Rows       []Row       `json:"policies"`
	Ramps      []Ramp      `json:"ramps"`
	// Decisions are the recommendations that changed the size or the rule, with all their reasons.
	Decisions []Decision `json:"decisions"`
	// Timeline, one entry per second.
	Demand   []int `json:"demand"`
	Needed   []int `json:"needed"`
	Ready    []int `json:"ready"`
	Desired  []int `json:"desired"`
	Violated []int `json:"violated"`
	// Ledgers of every hop.
	Ledgers any `json:"ledgers"`
}

// Make accounts for what was observed.
func Make(e Evidence) Report {
	r := Report{
		Policy: e.Policy, Begin: e.Begin, Seconds: len(e.Users), Requests: e.due(), Invariants: e.invariants(), Ledgers: e.Ledgers,
	}
	r.Capacity = e.Capacity.GetRequestsPerSecond()
	violations := 0
	for _, s := range e.Users {
		r.Demand = append(r.Demand, s.Due)
		r.Violated = append(r.Violated, s.Violations())
		violations += s.Violations()
		needed := 0
		if r.Capacity > 0 {
			needed = min(max(int(math.Ceil(float64(s.Due)/r.Capacity)), e.Minimum), e.Maximum)
		}
		r.Needed = append(r.Needed, needed)
	}
	r.decisions(e)
	r.fleet(e)
	measured := Row{Policy: "Foreshadow (" + e.Policy + ")", Source: "measured", Violations: float64(violations)}
	for _, n := range r.Desired {
		measured.InstanceSeconds += float64(n)
	}
	measured.ScaleUps = r.scaleUps(e)
	r.Rows = append(r.Rows, measured)
	if r.Capacity > 0 {
		r.counterfactuals(e)
	}
	r.Ramps = r.ramps()
	return r
}

// decisions keeps the recommendations that changed something.
func (r *Report) decisions(e Evidence) {
	for _, rec := range e.Recommendations {
		d := Decision{
			Second: math.Round(10*rec.GetCreateTime().AsTime().Sub(e.Begin).Seconds()) / 10,
			Policy: rec.GetPolicy().String(), Instances: int(rec.GetProduction().GetInstances()),
		}
		for _, reason := range rec.GetReasons() {
			d.Reasons = append(d.Reasons, reason.GetText())
		}
		if n := len(r.Decisions); n == 0 || r.Decisions[n-1].Instances != d.Instances || r.Decisions[n-1].Policy != d.Policy {
			r.Decisions = append(r.Decisions, d)
		}
	}
}

// fleet fills the ready and desired instances of each second; a second without a usage window repeats the one before.
func (r *Report) fleet(e Evidence) {
	ready, desired := make([]int, r.Seconds), make([]int, r.Seconds)
	for i := range ready {
		ready[i], desired[i] = -1, -1
	}
	for _, u := range e.Usage {
		if i := int(u.GetStartTime().AsTime().Sub(e.Begin) / time.Second); i >= 0 && i < r.Seconds {
			ready[i] = int(u.GetUsage().GetReadyInstances())
			desired[i] = max(int(u.GetUsage().GetDesiredInstances()), ready[i])
		}
	}
	for i := range ready {
		if ready[i] < 0 && i > 0 {
			ready[i], desired[i] = ready[i-1], desired[i-1]
		} else if ready[i] < 0 {
			ready[i], desired[i] = e.Initial, e.Initial
		}
	}
	r.Ready, r.Desired = ready, desired
}

// scaleUps finds for each growth when its instances were ready and when the demand first needed more than there were.
func (r *Report) scaleUps(e Evidence) []ScaleUp {
	var out []ScaleUp
	for _, a := range e.Actions {
		from, to := int(a.GetFrom().GetInstances()), int(a.GetTo().GetInstances())
		production := a.GetEnvironment() == foreshadowv1.Environment_ENVIRONMENT_PRODUCTION
		if !production || to <= from || a.GetOutcome() != foreshadowv1.Outcome_OUTCOME_APPLIED && a.GetOutcome() != foreshadowv1.Outcome_OUTCOME_SUPERSEDED {
			continue
		}
		second := a.GetCreateTime().AsTime().Sub(e.Begin).Seconds()
		up := ScaleUp{Second: int(second), From: from, To: to}
		// The instances count as ready a start-up time after the order, as measured.
		ready := second + e.Startup.Seconds()
		if a.GetStartupSeconds() > 0 {
			ready = second + a.GetStartupSeconds()
		}
		for i := max(0, int(second)); i < r.Seconds; i++ {
			if i > int(ready) && r.Desired[i] <= from {
				break // released before they were needed
			}
			if r.Needed[i] > from {
				up.Needed, up.LeadSeconds = true, math.Round(10*(float64(i)-ready))/10
				break
			}
		}
		out = append(out, up)
	}
	return out
}

// counterfactuals replays the same demand in the simulator: what the HPA would have done, and, for a fair comparison, what
// the model says of Foreshadow's own orders.
func (r *Report) counterfactuals(e Evidence) {
	world := simulate.Config{
		Tick: time.Second, Start: e.Begin, Startup: e.Startup, Capacity: r.Capacity / kneeShare, MaxUtilization: kneeShare,
		Min: e.Minimum, Max: e.Maximum, Initial: r.Desired[0], RateDelay: time.Second,
		MetricWindow: time.Minute / compression, MetricEvery: time.Minute / compression, Patience: 10 * time.Second,
	}
	demand := make([]float64, r.Seconds)
	for i, n := range r.Demand {
		demand[i] = float64(n)
	}
	for _, p := range []simulate.Policy{
		policy.NewHPA(policy.DefaultHPA().Faster(compression)), recorded{r.Desired, "Foreshadow's orders"}, policy.NewOracle(demand, 0),
	} {
		result, err := simulate.Run(demand, world, p)
		if err != nil {
			r.Invariants = append(r.Invariants, Invariant{Name: "the counterfactual can be computed", Detail: err.Error()})
			return
		}
		row := Row{Policy: p.Name(), Source: "modelled", Violations: result.Violated, InstanceSeconds: result.InstanceSeconds}
		for _, u := range result.ScaleUps {
			row.ScaleUps = append(row.ScaleUps, ScaleUp{Second: u.Tick, From: u.From, To: u.To, Needed: u.Needed, LeadSeconds: u.Lead.Seconds()})
		}
		r.Rows = append(r.Rows, row)
	}
}

// recorded orders what was ordered live.
type recorded struct {
	desired []int
	name    string
}

func (p recorded) Name() string { return p.name }
func (p recorded) Decide(o *simulate.Observation) int {
	return p.desired[min(o.Tick, len(p.desired)-1)]
}

// ramps finds the rises of the needed instances from a valley to the next peak by at least 3.
func (r *Report) ramps() []Ramp {
	var out []Ramp
	valley, peak := 0, 0
	settle := func() {
		if r.Needed[peak]-r.Needed[valley] >= 3 {
			ramp := Ramp{Begin: valley, End: peak, From: r.Needed[valley], To: r.Needed[peak]}
			for i := valley; i <= peak; i++ {
				if r.Ready[i] < r.Needed[i] {
					ramp.ShortSeconds++
				}
			}
			ramp.Met = ramp.ShortSeconds == 0
			out = append(out, ramp)
		}
	}
	for i := range r.Needed {
		switch {
		case r.Needed[i] > r.Needed[peak]:
			peak = i
		case r.Needed[peak]-r.Needed[i] >= 2:
			settle()
			valley, peak = i, i
		case r.Needed[i] <= r.Needed[valley] && peak == valley:
			valley, peak = i, i
		}
	}
	if len(r.Needed) > 0 {
		settle()
	}
	return out
}

// OK says whether every invariant held.
func (r Report) OK() bool {
	for _, i := range r.Invariants {
		if !i.OK {
			return false
		}
	}
	return true
}

// Write writes the report as JSON.
func (r Report) Write(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Table prints what a person wants to know.
func (r Report) Table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer func() { _ = w.Flush() }()
	_, _ = fmt.Fprintf(w, "\n%d requests in %d s. %s\n\n", r.Requests, r.Seconds, r.capacityText())
	_, _ = fmt.Fprintln(w, "policy\tsource\tviolating requests\tinstance-seconds\tscale-ups\tneeded\tready in time\tmedian lead")
	for _, row := range r.Rows {
		needed, inTime, lead := row.leads()
		_, _ = fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%d\t%d\t%d\t%s\n",
			row.Policy, row.Source, row.Violations, row.InstanceSeconds, len(row.ScaleUps), needed, inTime, lead)
	}
	_, _ = fmt.Fprintln(w, "\nramp\tfrom\tto\tinstances needed\tseconds short of them")
	for i, ramp := range r.Ramps {
		_, _ = fmt.Fprintf(w, "%d\t%d s\t%d s\t%d to %d\t%d\n", i+1, ramp.Begin, ramp.End, ramp.From, ramp.To, ramp.ShortSeconds)
	}
	_, _ = fmt.Fprintln(w, "\ninvariant\theld\t")
	for _, i := range r.Invariants {
		mark := "yes"
		if !i.OK {
			mark = "NO"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", i.Name, mark, i.Detail)
	}
}

func (r Report) capacityText() string {
	if r.Capacity <= 0 {
		return "The shadow has not measured yet what one instance carries, so there is nothing to compare with."
	}
	return fmt.Sprintf("One instance carries %.0f requests/s within the SLO (measured in the shadow).", r.Capacity)
}

func (row Row) leads() (needed, inTime int, median string) {
	var leads []float64
	for _, u := range row.ScaleUps {
		if u.Needed {
			leads = append(leads, u.LeadSeconds)
			if u.LeadSeconds >= 0 {
				inTime++
			}
		}
	}
	if len(leads) == 0 {
		return 0, 0, "-"
	}
	return len(leads), inTime, fmt.Sprintf("%+.1f s", middle(leads))
}
