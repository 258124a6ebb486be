package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/demo/internal/load"
	"github.com/foreshadow/foreshadow/services/demo/internal/report"
	"github.com/foreshadow/foreshadow/services/stack/audit"
)

var begin = time.Unix(1_700_000_000, 0).UTC()

const production = foreshadowv1.Environment_ENVIRONMENT_PRODUCTION

// hill is a demand that rises from 100 to 300 requests/s and falls again, served by a fleet that is always one ahead.
func hill() report.Evidence {
	e := report.Evidence{
		Begin: begin, Policy: "predictive", Startup: 4 * time.Second, Minimum: 1, Maximum: 10, Initial: 3,
		Sent: audit.Windows{}, Stored: audit.Windows{},
		Capacity: &foreshadowv1.CapacityMeasured{Valid: true, RequestsPerSecond: 60},
	}
	total := uint64(0)
	for i := range 120 {
		rate := 100 + int(100*(1-math.Cos(2*math.Pi*float64(i)/120)))
		e.Users = append(e.Users, load.Second{Due: rate, Answered: rate})
		at := begin.Add(time.Duration(i) * time.Second)
		key := audit.Window{Environment: production, Start: at.Unix()}
		e.Sent[key], e.Stored[key] = metric.Counters{Requests: uint64(rate)}, metric.Counters{Requests: uint64(rate)}
		total += uint64(rate)
		need := int32(math.Ceil(float64(rate)/60)) + 1
		e.Usage = append(e.Usage, &foreshadowv1.MetricsWindowed{
			StartTime: timestamppb.New(at),
			Content:   &foreshadowv1.MetricsWindowed_Usage{Usage: &foreshadowv1.UsageWindow{DesiredInstances: need, ReadyInstances: need}},
		})
		e.Recommendations = append(e.Recommendations, &foreshadowv1.Recommendation{
			RecommendationId: fmt.Sprint(i), Generation: uint64(i + 1), CreateTime: timestamppb.New(at),
			ExpireTime: timestamppb.New(at.Add(time.Second)), Reasons: []*foreshadowv1.Reason{{Text: "because"}},
			Production: &foreshadowv1.Sizing{Instances: need},
		})
	}
	e.Actions = []*foreshadowv1.ScalingApplied{{
		Environment: production, Outcome: foreshadowv1.Outcome_OUTCOME_APPLIED, CreateTime: timestamppb.New(begin.Add(20 * time.Second)),
		From: &foreshadowv1.Sizing{Instances: 3}, To: &foreshadowv1.Sizing{Instances: 4}, StartupSeconds: 4,
	}}
	e.Ledgers = map[string][]metric.Ledger{
		"replicator":    {{Hop: "replicator/tap", Seen: total, Passed: 10, Dropped: map[string]uint64{"sampled_out": total - 10}}},
		"shadow-runner": {{Hop: "shadow-runner/replay", Seen: 10, Passed: 10}},
	}
	return e
}

func TestAGoodRunHoldsEveryInvariant(t *testing.T) {
	t.Parallel()
	r := report.Make(hill())
	for _, i := range r.Invariants {
		if !i.OK {
			t.Errorf("%s: %s", i.Name, i.Detail)
		}
	}
	if len(r.Ramps) != 1 || !r.Ramps[0].Met || r.Ramps[0].From != 2 || r.Ramps[0].To != 5 {
		t.Errorf("ramps %+v, want one from 2 to 5 instances, met", r.Ramps)
	}
	up := r.Rows[0].ScaleUps[0]
	// 180 requests/s are what 3 instances carry; the demand passes that in second 27, the instance was ready in second 24.
	if len(r.Rows[0].ScaleUps) != 1 || !up.Needed || up.LeadSeconds != 3 {
		t.Errorf("scale-ups %+v, want one with a lead of 3 s", r.Rows[0].ScaleUps)
	}
	rows := map[string]report.Row{}
	for _, row := range r.Rows {
		rows[row.Policy] = row
	}
	if rows["HPA 70 %"].Violations <= rows["Foreshadow's orders"].Violations || rows["oracle"].Violations != 0 {
		t.Errorf("rows %+v: want the HPA late on this hill, and the oracle never", r.Rows)
	}
}

func TestEveryBrokenInvariantIsFound(t *testing.T) {
	t.Parallel()
	at := audit.Window{Environment: production, Start: begin.Unix() + 3}
	for want, spoil := range map[string]func(*report.Evidence){
		"every production request was served": func(e *report.Evidence) { e.Failures = map[string]int{"502 Bad Gateway": 1} },
		"every ledger balances":               func(e *report.Evidence) { e.Ledgers["shadow-runner"][0].Passed = 9 },
		"nothing is pending": func(e *report.Evidence) {
			e.Ledgers["shadow-runner"][0].Pending, e.Ledgers["shadow-runner"][0].Passed = 1, 9
		},
		"the tap published = the runner": func(e *report.Evidence) {
			e.Ledgers["shadow-runner"][0].Seen, e.Ledgers["shadow-runner"][0].Passed = 9, 9
		},
		"users sent = the tap saw":                 func(e *report.Evidence) { e.Users[7].Due++ },
		"users sent = requests in the windows":     func(e *report.Evidence) { delete(e.Stored, at) },
		"every window equals":                      func(e *report.Evidence) { e.Stored[at] = metric.Counters{Requests: e.Sent[at].Requests, Errors: 1} },
		"instances stayed within its limits":       func(e *report.Evidence) { e.Maximum = 4 },
		"newer generation, an expiry and a reason": func(e *report.Evidence) { e.Recommendations[5].Reasons = nil },
		"newer generation":                         func(e *report.Evidence) { e.Recommendations[5].Generation = 5 },
	} {
		e := hill()
		spoil(&e)
		r := report.Make(e)
		found := false
		for _, i := range r.Invariants {
			found = found || !i.OK && strings.Contains(i.Name, want)
		}
		if !found || r.OK() {
			t.Errorf("%s: not found broken", want)
		}
	}
}

func TestWithoutCapacityThereIsNoComparison(t *testing.T) {
	t.Parallel()
	e := hill()
	e.Capacity = nil
	r := report.Make(e)
	var out bytes.Buffer
	r.Table(&out)
	if len(r.Rows) != 1 || len(r.Ramps) != 0 || !r.OK() || !strings.Contains(out.String(), "nothing to compare with") {
		t.Errorf("%d rows, %d ramps, ok %v:\n%s", len(r.Rows), len(r.Ramps), r.OK(), out.String())
	}
}

func TestReportIsWrittenAndPrinted(t *testing.T) {
	t.Parallel()
	r := report.Make(hill())
	path := filepath.Join(t.TempDir(), "report.json")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(data, &back); err != nil || back["requests"] != float64(r.Requests) {
		t.Errorf("read back %v, %v", back["requests"], err)
	}
	var out bytes.Buffer
	r.Table(&out)
	for _, want := range []string{"HPA 70 %", "Foreshadow (predictive)", "measured", "modelled", "every window equals"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, out.String())
		}
	}
	if err := r.Write(filepath.Join(path, "nowhere")); err == nil {
		t.Error("wrote into a file as if it were a directory")
	}
}
