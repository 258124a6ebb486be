package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/scaling"
	"github.com/foreshadow/foreshadow/libs/scaling/foresight"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// maxPoints bounds a forecast that is asked for from outside: it is a message of a few megabytes then.
const maxPoints = 5000

// Predict makes the recommendation for now: it forecasts the demand, correlates traffic with resources, and lets
// scaling.Decide decide. When data is missing the answer is to hold, and says so. It is nil as long as it was never told
// what runs: there is nothing to hold then, and a small number would shrink production after a restart.
func (m *Model) Predict(now time.Time) *foreshadowv1.Recommendation {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.usage.last == nil {
		return nil
	}
	m.usage.learn()
	in := scaling.Input{
		Config:      m.config,
		Startup:     m.startup(),
		Instances:   m.usage.instances(),
		Capacity:    m.capacityNow(),
		Utilization: m.usage.utilization(m.workload.Production.CPUCores),
		Resources:   m.usage.resources,
		Size:        m.usage.size(),
		Tried:       m.triedSizes(),
	}
	given := m.given()
	in.Limits = scaling.Limits{CPUCores: given.CPUCores, MemoryBytes: given.MemoryBytes, NetworkBytesPerSecond: m.workload.Production.NetworkBytesPerSecond}
	in.Price = m.workload.Prices.Hourly(given.CPUCores, int64(given.MemoryBytes))
	for _, w := range m.track.Recent(now, m.config.DemandMaxAge) {
		in.Demand = append(in.Demand, scaling.Point{At: w.Start.Add(w.Width), PerSecond: w.Requests / w.Width.Seconds()})
	}
	in.Forecast = m.foresee(now, in)
	m.resume(in, now)
	decision, state := scaling.Decide(m.state, in, now)
	m.state = state
	m.generation = max(m.generation+1, uint64(now.UnixNano()))
	r := m.recommendation(decision)
	r.Prospects = prospects(m.state.Prospects(m.config))
	return r
}

// foresee asks the engine for the highest demand within the lead and the hold time of the decision.
func (m *Model) foresee(now time.Time, in scaling.Input) scaling.Forecast {
	away := m.engine.Away(now)
	if m.workload.Policy.Kind == workload.Reactive {
		return scaling.Forecast{Away: away, Reason: "the policy is reactive"}
	}
	f, err := m.engine.Forecast(metric.WindowStart(now, m.forecast.Step), int(in.HoldTime()/m.forecast.Step)+2)
	if err != nil {
		return scaling.Forecast{Away: away, Reason: abstained(err)}
	}
	trust := m.engine.Trust()
	out := scaling.Forecast{Issued: now, Away: away, Earned: trust.Earned, Reason: trust.Reason}
	if len(f.Events) > 0 {
		out.Reason += "; the calendar knows of " + strings.Join(f.Events, ", ")
	}
	// What is asked for now must carry the demand until an instance asked for at the next decision is ready, and no longer.
	lead := stepAt(f, now.Add(in.LeadTime()-1))
	hold := stepAt(f, now.Add(in.HoldTime()-1))
	if !f.Start.Equal(m.seen.Start) {
		m.former = m.seen
	}
	m.seen = f
	window := func(from, last int) []scaling.Quantile { return foresight.Window(f, m.former, from, last) }
	out.Lead, out.Arrival, out.Hold, out.Mean = window(0, lead), window(stepAt(f, now.Add(in.LeadTime()-m.config.Interval)), lead), window(0, hold), f.Mean[lead]
	if m.forecast.Step > m.config.Interval && !f.Start.After(now) {
		out.Surprise = foresight.Surprise(lately(in.Demand, m.config.Interval), f.Quantile(0, 0.5), f.Last)
	}
	return out
}

// lately is the mean of the points within a span before the newest; NaN when there is none.
func lately(points []scaling.Point, span time.Duration) float64 {
	sum, n := 0.0, 0
	for _, p := range points {
		if points[len(points)-1].At.Sub(p.At) < span {
			sum, n = sum+p.PerSecond, n+1
		}
	}
	return sum / float64(n)
}

// stepAt is the index of the step that holds t, within the forecast.
func stepAt(f forecast.Forecast, t time.Time) int {
	return min(max(0, int(t.Sub(f.Start)/f.Step)), f.Horizon()-1)
}

func abstained(err error) string {
	var a *forecast.Abstention
	if errors.As(err, &a) {
		return a.Reason
	}
	return err.Error()
}

// given is the size of an instance of production: what the platform says, else what was declared.
func (m *Model) given() scaling.InstanceSize {
	size, declared := m.usage.size(), m.workload.Production
	return scaling.InstanceSize{
		CPUCores: cmp.Or(size.CPUCores, declared.CPUCores), MemoryBytes: cmp.Or(size.MemoryBytes, float64(declared.MemoryBytes)),
	}
}

// capacityNow is what an instance of production is known to carry. After its size has changed that is what the shadow held on
// a size like it, until it has measured anew.
func (m *Model) capacityNow() scaling.Capacity {
	if m.capacity == nil {
		hint := m.workload.Policy.CapacityHint
		if hint <= 0 {
			return scaling.Capacity{}
		}
		return scaling.Capacity{Source: scaling.CapacityHint, PerSecond: hint}
	}
	c := m.capacity
	out := scaling.Capacity{
		Source: scaling.CapacityMeasured, PerSecond: c.GetRequestsPerSecond(),
		Lower: c.GetLowerRequestsPerSecond(), Upper: c.GetUpperRequestsPerSecond(),
		Measured: c.GetMeasureTime().AsTime(), Expires: expires(c), Rough: !c.GetPrecise(), MixDrift: m.recent.drift(c),
		Bottleneck: bottleneckName(c.GetBottleneck()),
	}
	of := scaling.InstanceSize{CPUCores: c.GetGivenCpuCores(), MemoryBytes: float64(c.GetGivenMemoryBytes())}
	if out.OtherSize = m.usage.differs(of); !out.OtherSize {
		return out
	}
	for _, t := range m.triedSizes() {
		if size := m.usage.size(); size != (scaling.InstanceSize{}) && size.Near(t.InstanceSize) {
			// It was held, which is not the most it carries.
			t.Capacity.Lower, t.Capacity.Rough = t.Capacity.PerSecond, true
			return t.Capacity
		}
	}
	if out.Measured.Before(m.usage.sized) && (out.Expires.IsZero() || m.usage.sized.Before(out.Expires)) {
		out.Expires = m.usage.sized // so that the shadow measures anew
	}
	return out
}

// expires is when a measurement is due for renewal; zero for never.
func expires(c *foreshadowv1.CapacityMeasured) time.Time {
	if c.GetExpireTime() == nil {
		return time.Time{}
	}
	return c.GetExpireTime().AsTime()
}

func (u *usage) instances() scaling.Instances {
	return scaling.Instances{Desired: int(u.last.GetDesiredInstances()), Ready: int(u.last.GetReadyInstances())}
}

// utilization is the mean CPU use of the ready instances as a share of what each is given, by the platform or else as
// declared; unknown when neither says so or nothing was measured.
func (u *usage) utilization(declared float64) scaling.Utilization {
	r := u.rows[u.lastTime.UnixNano()]
	if r == nil || r.use == nil {
		return scaling.Utilization{Share: math.NaN()}
	}
	given := cmp.Or(r.cores, declared)
	if given <= 0 {
		return scaling.Utilization{Share: math.NaN()}
	}
	return scaling.Utilization{Share: r.use[cpu] / given, At: u.lastTime, Instances: r.ready}
}

func (m *Model) recommendation(d scaling.Decision) *foreshadowv1.Recommendation {
	e := d.Evidence
	r := &foreshadowv1.Recommendation{
		RecommendationId: fmt.Sprintf("%s-%d", m.workload.Name, m.generation),
		Workload:         m.workload.Name,
		Generation:       m.generation,
		CreateTime:       timestamppb.New(d.Made),
		ExpireTime:       timestamppb.New(d.Expires),
		Production:       sizing(d.Production),
		Shadow:           sizing(d.Shadow),
		Policy:           policies[d.Policy],
		Evidence: &foreshadowv1.Evidence{
			DemandPerSecond: e.Demand, DemandAgeSeconds: e.DemandAge.Seconds(), Quantile: e.Quantile,
			ForecastPerSecond: e.Forecast, ForecastArrivalPerSecond: e.ForecastArrival, ForecastMeanPerSecond: e.ForecastMean, ForecastTrusted: e.ForecastTrusted,
			CapacityPerSecond: e.Capacity, CapacityLowerPerSecond: e.CapacityLower, StartupSeconds: e.Startup.Seconds(),
			LeadTimeSeconds: e.LeadTime.Seconds(), ReadyInstances: int32(e.Ready), DesiredInstances: int32(e.Desired),
			Bottleneck: bottleneckOf(e.Bottleneck.Resource), BottleneckGrowth: e.Bottleneck.Growth,
		},
		ReactiveInstances: int32(d.ReactiveInstances),
		HpaInstances:      int32(d.HPAInstances),
	}
	if m.capacity != nil {
		r.Evidence.CapacityMeasureTime = m.capacity.GetMeasureTime()
	}
	if a := d.Cheaper; a != nil {
		r.Cheaper = &foreshadowv1.CheaperSize{
			Configuration: a.Name, CpuCores: a.CPUCores, MemoryBytes: uint64(max(0, a.MemoryBytes)), RequestsPerSecond: a.Capacity.PerSecond,
			Instances: int32(a.Instances), PricePerHour: a.Hourly, TodayPricePerHour: a.Today,
		}
	}
	for _, reason := range d.Reasons {
		r.Reasons = append(r.Reasons, &foreshadowv1.Reason{Code: string(reason.Code), Text: d.Text(reason)})
	}
	return r
}

func prospects(p scaling.Prospects) *foreshadowv1.Prospects {
	if len(p.Fleets) == 0 {
		return nil
	}
	out := &foreshadowv1.Prospects{SeenSeconds: p.Seen.Seconds(), HpaViolatingRequests: p.HPAViolated}
	for _, f := range p.Fleets {
		out.Prospects = append(out.Prospects, &foreshadowv1.Prospect{Budget: f.Budget, Risk: f.Risk, CostRatio: f.Cost, ViolatingRequests: f.Violated})
	}
	return out
}

const bottleneckPrefix = "BOTTLENECK_"

// bottleneckName is empty when it is not known.
func bottleneckName(b foreshadowv1.Bottleneck) string {
	if b == foreshadowv1.Bottleneck_BOTTLENECK_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(b.String(), bottleneckPrefix))
}

func bottleneckOf(name string) foreshadowv1.Bottleneck {
	return foreshadowv1.Bottleneck(foreshadowv1.Bottleneck_value[bottleneckPrefix+strings.ToUpper(name)])
}

var policies = map[scaling.Policy]foreshadowv1.Policy{
	scaling.Hold:       foreshadowv1.Policy_POLICY_HOLD,
	scaling.Reactive:   foreshadowv1.Policy_POLICY_REACTIVE,
	scaling.Predictive: foreshadowv1.Policy_POLICY_PREDICTIVE,
}

func sizing(s scaling.Size) *foreshadowv1.Sizing {
	return &foreshadowv1.Sizing{
		Instances: int32(s.Instances), CpuCores: s.CPUCores, MemoryBytes: uint64(max(0, s.MemoryBytes)),
		NetworkBytesPerSecond: s.NetworkBytesPerSecond,
	}
}

// MaxHorizon is the longest forecast that may be asked for.
func (m *Model) MaxHorizon() time.Duration { return maxPoints * m.forecast.Step }

// Forecast is the forecast from now over the horizon, for people and other controllers; 0 is the decision's own horizon.
// Its error is a *forecast.Abstention when there is none.
func (m *Model) Forecast(now time.Time, horizon time.Duration) (*foreshadowv1.Forecast, error) {
	m.mu.Lock()
	engine, startup := m.engine, m.startup()
	m.mu.Unlock()
	if horizon <= 0 {
		horizon = scaling.Input{Config: m.config, Startup: startup}.HoldTime()
	}
	step := m.forecast.Step
	f, err := engine.Forecast(metric.WindowStart(now, step), int(math.Ceil(float64(horizon)/float64(step))))
	if err != nil {
		return nil, err
	}
	trust := engine.Trust()
	out := &foreshadowv1.Forecast{
		Workload: m.workload.Name, CreateTime: timestamppb.New(now), StepSeconds: f.Step.Seconds(), Method: f.Method,
		Events: f.Events, Trusted: trust.Earned, TrustReason: trust.Reason,
	}
	for _, p := range f.Periods {
		out.PeriodSeconds = append(out.PeriodSeconds, p.Seconds())
	}
	for k, mean := range f.Mean {
		point := &foreshadowv1.ForecastPoint{
			StartTime: timestamppb.New(f.Start.Add(time.Duration(k) * f.Step)), MeanPerSecond: mean,
		}
		for i, level := range f.Levels {
			point.Quantiles = append(point.Quantiles, &foreshadowv1.QuantileValue{Level: level, ValuePerSecond: f.Quantiles[i][k]})
		}
		out.Points = append(out.Points, point)
	}
	return out, nil
}
