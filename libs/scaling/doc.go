// Package scaling decides how large a workload should be: how many instances, and how much CPU, memory and network each.
//
//	demand of the last seconds --+
//	forecast of the peak --------+--> Decide(state, input, now) --> Decision (size, reasons, alternatives, evidence)
//	capacity of one instance ----+         |      ^                 next State
//	CPU utilization -------------+         +------+
//
// Decide is pure: the same state, input and time give the same decision, live, in a backtest and in a what-if. It reads
// no clock, keeps nothing, never changes what it was given, and never panics, whatever the input holds. The state can be written
// down and read by a later run (MarshalBinary), which then goes on from it (Resume).
//
// What it promises:
//   - Up at once: when the (1-risk)-quantile of the highest demand until a new instance could be ready exceeds what the
//     instances already asked for carry, or when the demand of the last seconds does. Where that was mostly over before an
//     instance could help, only what one ordered now will meet counts.
//   - Down late: only what neither the recent past nor the longer forecast needs, in steps, and not for trifles.
//   - Never worse than the HPA for its money: other risks, in two manners of counting on surprises, and the HPA, are played on
//     paper against the demand as it comes (rivals). What they would have cost and violated sets risk and manner, so that a
//     budget is kept; where no risk would have served users better than the HPA does, what the HPA would hold is held. So it is
//     on a demand so calm that the HPA hardly acts and the best risk would act many times as often.
//   - An outage is no calm: when demand falls below half of anything seen in a week, and not for a known event, nothing is
//     released for a while.
//   - A forecast that has not earned trust is not used: the request rate itself decides, and never below what the
//     Kubernetes HPA would hold.
//   - Missing, stale or impossible numbers never shrink anything.
//   - The result lies within the configured minimum and maximum.
//
// The sub-packages stand beside it: correlate (what a request costs), hpa (the exact Kubernetes autoscaler), simulate
// (what a policy would have done), backtest (all policies on a user's own series).
package scaling
