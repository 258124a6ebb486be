package scaling

import (
	"fmt"
	"time"
)

// Code is the stable, machine-readable name of a reason.
type Code string

// The reasons. The first of a decision says what was done; those after it say on what grounds.
const (
	ForecastAboveCommitted Code = "forecast_above_committed"
	ArrivalAboveCommitted  Code = "forecast_at_arrival_above_committed"
	DemandAboveCommitted   Code = "demand_above_committed"
	UtilizationAboveTarget Code = "utilization_above_target"
	EnoughInstances        Code = "enough_instances"
	TooLateToHelp          Code = "too_late_to_help"
	ScaleDown              Code = "scale_down"
	ScaleDownInSteps       Code = "scale_down_in_steps"
	ScaleDownTooSmall      Code = "scale_down_too_small"
	ScaleDownHeldByPast    Code = "scale_down_held_by_past"
	ScaleDownHeldByFuture  Code = "scale_down_held_by_forecast"
	ScaleDownHeldInOutage  Code = "scale_down_held_in_outage"
	DemandMissing          Code = "demand_missing"
	NothingKnown           Code = "nothing_known"
	AtMinimum              Code = "at_minimum"
	AtMaximum              Code = "at_maximum"

	HPAFloor           Code = "hpa_floor"
	HPAFollowed        Code = "hpa_followed"
	HPAUntilKnown      Code = "hpa_until_known"
	HPAForCalm         Code = "hpa_followed_for_calm"
	DebtRepaid         Code = "debt_repaid"
	ForecastTrusted    Code = "forecast_trusted"
	ForecastUntrusted  Code = "forecast_untrusted"
	ForecastMissing    Code = "forecast_missing"
	ForecastStale      Code = "forecast_stale"
	ForecastTooDear    Code = "forecast_too_dear"
	SurpriseDiscounted Code = "surprise_discounted"
	CapacityMissing    Code = "capacity_missing"
	CapacityNotTested  Code = "capacity_not_measured"
	CapacityExpired    Code = "capacity_expired"
	CapacityRough      Code = "capacity_rough"
	CapacityMixMoved   Code = "capacity_mix_moved"
	CapacityOtherSize  Code = "capacity_other_size"
	CheaperSize        Code = "cheaper_size"
	SizeChange         Code = "size_change"
	SizeChangeGrows    Code = "size_change_grows"
	SizeChangeFailed   Code = "size_change_failed"
	RunsOutFirst       Code = "runs_out_first"
	ShadowAwake        Code = "shadow_awake"
	ShadowAsleep       Code = "shadow_asleep"
)

// Reason is one ground of a decision. Text is made only when asked for: most decisions are never read.
type Reason struct {
	Code   Code
	Detail string // what the code cannot say, as a sentence; often empty
	from   int    // instances before
	to     int    // instances after, or the number the reason is about
}

// Text returns the reason of a decision as a sentence with its numbers.
func (d Decision) Text(r Reason) string {
	text := d.action(r)
	if text == "" {
		text = d.ground(r)
	}
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

func (d Decision) action(r Reason) string {
	e := d.Evidence
	switch r.Code {
	case ForecastAboveCommitted:
		return fmt.Sprintf("Demand will stay below %.4g requests/s for the next %s with probability %.3g; that takes %s at %.4g of %.4g requests/s each, %s ready or starting",
			e.Forecast, seconds(e.LeadTime), e.Quantile, instances(r.to), e.CapacityUsed, e.Capacity, are(r.from))
	case ArrivalAboveCommitted:
		return fmt.Sprintf("When an instance started now is ready, in %s, demand will be below %.4g requests/s with probability %.3g; that takes %s at %.4g of %.4g requests/s each, %s ready or starting",
			seconds(e.Startup), e.ForecastArrival, e.Quantile, instances(r.to), e.CapacityUsed, e.Capacity, are(r.from))
	case DemandAboveCommitted:
		return fmt.Sprintf("Demand is %.4g requests/s now; that takes %s at %.4g of %.4g requests/s each, %s ready or starting",
			e.Demand, instances(r.to), e.CapacityUsed, e.Capacity, are(r.from))
	case UtilizationAboveTarget:
		return fmt.Sprintf("CPU utilization is %.0f %% of the request; at a target of %d %% that takes %s, %s ready or starting",
			100*e.Utilization, e.HPATarget, instances(r.to), are(r.from))
	case EnoughInstances:
		return fmt.Sprintf("%s ready or starting and %s needed", instancesAre(r.from), are(r.to))
	case TooLateToHelp:
		return fmt.Sprintf("%s needed for a while and %s ready or starting; by the time one started now is ready, in %s, these will do", instancesAre(r.to), are(r.from), seconds(e.Startup))
	case ScaleDown:
		return fmt.Sprintf("Of %d instances %d would do for now and for what is expected", r.from, r.to)
	case ScaleDownInSteps:
		return fmt.Sprintf("%s would do; only part is released at once", instances(r.to))
	case ScaleDownTooSmall:
		return fmt.Sprintf("Of %d instances %d would do; so small a saving is not worth the change", r.from, r.to)
	case ScaleDownHeldByPast:
		return fmt.Sprintf("%s kept: so much was needed a short while ago", instancesAre(r.to))
	case ScaleDownHeldInOutage:
		return fmt.Sprintf("Demand fell to %.4g requests/s, of late it was never below %.4g: that is taken for a failure on the way here, not for calm, and %s kept for its end", e.Demand, e.Ebb, instancesAre(r.to))
	case ScaleDownHeldByFuture:
		return fmt.Sprintf("Demand may reach %.4g requests/s soon; %s kept for it", e.ForecastHold, instancesAre(r.to))
	case DemandMissing:
		return "The demand is not known; absence of data is not absence of load, so nothing is released"
	case NothingKnown:
		return "Neither what an instance carries nor the CPU utilization is known; what runs is kept"
	case AtMinimum:
		return fmt.Sprintf("The configured minimum is %s", instances(e.Minimum))
	case AtMaximum:
		return fmt.Sprintf("%s needed but the configured maximum is %d", instancesAre(r.to), e.Maximum)
	}
	return ""
}

func (d Decision) ground(r Reason) string {
	e := d.Evidence
	switch r.Code {
	case HPAFloor:
		return fmt.Sprintf("The Kubernetes HPA at %d %% would hold %s; without a trusted forecast it is not undercut", e.HPATarget, instances(r.to))
	case HPAUntilKnown:
		return fmt.Sprintf("Too little has been seen to say what can be had for the money of the Kubernetes HPA at %d %%; its %s held", e.HPATarget, instancesAre(r.to))
	case HPAFollowed:
		return fmt.Sprintf("On the demand of late, no setting would have served users better for the money than the Kubernetes HPA at %d %%; its %s held", e.HPATarget, instancesAre(r.to))
	case HPAForCalm:
		return fmt.Sprintf("On the demand of late, to act on the forecast would take more than %d times the scale actions of the Kubernetes HPA at %d %%: so calm a demand is left to it, and its %s held", unrest, e.HPATarget, instancesAre(r.to))
	case DebtRepaid:
		return fmt.Sprintf("More was spent of late than the Kubernetes HPA would have: %s held instead of its own number, as demand leaves room, until that is made up for", instancesAre(r.to))
	case ForecastTrusted:
		return "The forecast has earned trust"
	case ForecastUntrusted:
		return "The forecast has not earned trust"
	case ForecastMissing:
		return "There is no forecast"
	case ForecastStale:
		return "The forecast is out of date"
	case ForecastTooDear:
		return "On the demand of late, instances for what was foreseen were not worth their money; the demand of the last seconds decides"
	case SurpriseDiscounted:
		return fmt.Sprintf("Demand is %.4g requests/s above what was expected by now; of late such surprises passed before new instances could meet them, so %d %% of it is counted on", e.Surprise, r.to)
	case CapacityMissing:
		return "What one instance carries within the SLO is not known; CPU utilization decides"
	case CapacityNotTested:
		return fmt.Sprintf("The %.4g requests/s per instance were configured, not measured", e.Capacity)
	case CapacityExpired:
		return "The measured capacity is due for renewal"
	case CapacityRough:
		return fmt.Sprintf("What one instance carries is known roughly, about %.4g requests/s and at least %.4g; the shadow measures on", e.Capacity, e.CapacityLower)
	case CapacityMixMoved:
		return "The mix of requests has moved away from the measured one"
	case CheaperSize:
		return fmt.Sprintf("Instances of configuration %s, tried in the shadow at %.4g requests/s, would have cost %.3g instead of %.3g an hour on the demand of late; %d would do now",
			d.Cheaper.Name, d.Cheaper.Capacity.PerSecond, d.Cheaper.Hourly, d.Cheaper.Today, d.Cheaper.Instances)
	case CapacityOtherSize:
		return "The capacity was measured on instances of another size than production's"
	case SizeChange:
		return "Instances get the size of a configuration that the shadow tried; until all have it there are as many as either size takes"
	case SizeChangeGrows:
		return fmt.Sprintf("%d instances have to be ready before they get the size of a configuration that the shadow tried", r.to)
	case SizeChangeFailed:
		return "Instances did not get the size of the configuration in time; it is not asked for again for a while"
	case RunsOutFirst:
		b := e.Bottleneck
		return fmt.Sprintf("As the demand grows, an instance first runs out of %s: what it is sized for takes %.0f %% of it, %.3g times that all", b.Resource, 100*b.Use/b.Limit, b.Growth)
	case ShadowAwake:
		return "The shadow is awake to measure"
	case ShadowAsleep:
		return "The shadow sleeps: there is nothing to learn"
	}
	return string(r.Code)
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// are is a number with its verb.
func are(n int) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

func instancesAre(n int) string {
	if n == 1 {
		return "1 instance is"
	}
	return fmt.Sprintf("%d instances are", n)
}

func seconds(d time.Duration) string { return d.Round(time.Second / 10).String() }
