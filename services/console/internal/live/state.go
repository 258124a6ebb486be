package live

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

// JSON is how every proto message is shown: names as in the .proto, zero scalars written out, absent messages absent.
var JSON = protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}

// Problem says why one source of the page has nothing to show.
type Problem struct {
	// Backend is the service asked.
	Backend string `json:"backend"`
	// Code is the gRPC status code, for example UNAVAILABLE.
	Code string `json:"code"`
	// Message is what the backend, or the connection, said.
	Message string `json:"message"`
	// Since is when this code began.
	Since time.Time `json:"since"`
}

// Status is what is away and what has nothing to say.
type Status struct {
	Backends []upstream.State   `json:"backends"`
	Problems map[string]Problem `json:"problems"`
}

// Snapshot is all that a browser needs to draw the page; later events change it.
type Snapshot struct {
	// Time of the console's clock, in Unix seconds: browsers count ages from it.
	Time     float64        `json:"time"`
	Traffic  []TrafficPoint `json:"traffic"`
	Usage    []UsagePoint   `json:"usage"`
	Sizing   []SizingPoint  `json:"sizing"`
	Decision []Decision     `json:"decisions"`
	// The newest answer of each polled source, in the JSON of its proto; null until there is one.
	Forecast     json.RawMessage `json:"forecast"`
	Actions      json.RawMessage `json:"actions"`
	Capacity     json.RawMessage `json:"capacity"`
	Provisioning json.RawMessage `json:"provisioning"`
	Experiments  json.RawMessage `json:"experiments"`
	Status       Status          `json:"status"`
}

// Recommended is the event of a new recommendation.
type Recommended struct {
	Point    SizingPoint `json:"point"`
	Decision Decision    `json:"decision"`
}

// state is what one workload's page shows. It is not safe for concurrent use; Feed guards it.
type state struct {
	retention time.Duration
	quantile  float64 // of the SLO

	traffic  series[TrafficPoint]
	usage    series[UsagePoint]
	recs     recommendations
	answers  map[string]proto.Message
	backends []upstream.State
	problems map[string]Problem
}

func newState(retention time.Duration, quantile float64) *state {
	return &state{
		retention: retention, quantile: quantile,
		traffic: series[TrafficPoint]{retention: retention.Seconds()}, usage: series[UsagePoint]{retention: retention.Seconds()},
		answers: map[string]proto.Message{}, problems: map[string]Problem{},
	}
}

// window returns the event to send for a window, nil when it is no news.
func (s *state) window(w *foreshadowv1.MetricsWindowed) (name string, event any, err error) {
	k, err := keyOf(w)
	if err != nil {
		return "", nil, err
	}
	switch content := w.GetContent().(type) {
	case *foreshadowv1.MetricsWindowed_Traffic:
		p, err := trafficPoint(k, content.Traffic, s.quantile)
		if err == nil && s.traffic.put(p) {
			return "traffic", p, nil
		}
		return "", nil, err
	case *foreshadowv1.MetricsWindowed_Usage:
		p := UsagePoint{windowKey: k, Ready: content.Usage.GetReadyInstances(), Desired: content.Usage.GetDesiredInstances()}
		if s.usage.put(p) {
			return "usage", p, nil
		}
	}
	return "", nil, nil
}

// answer reports whether the answer of a polled source differs from the one before.
func (s *state) answer(source string, m proto.Message) bool {
	if before, had := s.answers[source]; had && proto.Equal(before, m) {
		return false
	}
	s.answers[source] = m
	return true
}

// problem records what a source said; nil is all right. It reports whether that is news.
func (s *state) problem(source string, p *Problem) bool {
	before, had := s.problems[source]
	if p == nil {
		delete(s.problems, source)
		return had
	}
	if had && before.Code == p.Code {
		p.Since = before.Since
	}
	s.problems[source] = *p
	return !had || before.Code != p.Code || before.Message != p.Message
}

func (s *state) status() Status {
	return Status{Backends: s.backends, Problems: maps.Clone(s.problems)}
}

// lastStart is where to resume the stream of windows: a little before the newest, because late observations revise windows.
func (s *state) lastStart(now time.Time) time.Time {
	oldest := now.Add(-s.retention)
	newest := max(s.traffic.newest, s.usage.newest)
	if resume := time.Unix(int64(newest), 0).Add(-time.Minute); resume.After(oldest) {
		return resume
	}
	return oldest
}

func (s *state) snapshot(now time.Time) (*Snapshot, error) {
	snap := &Snapshot{
		Time:    float64(now.UnixNano()) / float64(time.Second),
		Traffic: slices.Clone(s.traffic.points), Usage: slices.Clone(s.usage.points), Sizing: []SizingPoint{}, Status: s.status(),
	}
	for _, r := range s.recs {
		if p := sizingPoint(r); p.Time >= snap.Time-s.retention.Seconds() {
			snap.Sizing = append(snap.Sizing, p)
		}
	}
	snap.Decision = s.recs.decisions(shownDecisions)
	for i := range snap.Decision {
		if err := snap.Decision[i].encode(); err != nil {
			return nil, err
		}
	}
	for source, into := range map[string]*json.RawMessage{
		SourceForecast: &snap.Forecast, SourceActions: &snap.Actions, SourceCapacity: &snap.Capacity,
		SourceProvisioning: &snap.Provisioning, SourceExperiments: &snap.Experiments,
	} {
		if m, has := s.answers[source]; has {
			data, err := JSON.Marshal(m)
			if err != nil {
				return nil, err
			}
			*into = data
		}
	}
	return snap, nil
}

// recommended returns the event of the newest recommendation.
func (s *state) recommended() (*Recommended, error) {
	e := &Recommended{Point: sizingPoint(s.recs[len(s.recs)-1]), Decision: s.recs.decisions(1)[0]}
	return e, e.Decision.encode()
}

func (d *Decision) encode() error {
	data, err := JSON.Marshal(d.first)
	d.Recommendation = data
	if p := d.newest.GetProspects(); p != nil && err == nil {
		d.Prospects, err = JSON.Marshal(p)
	}
	return err
}
