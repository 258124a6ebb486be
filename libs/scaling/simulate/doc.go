// Package simulate replays a recorded demand against a scaling policy and scores what users and the bill would have seen.
//
// Time runs in ticks. In each: instances that finished starting become ready, the policy is asked how many it wants
// (seeing only what a real one could by then: delayed rates, averaged and aged utilization), and the tick's requests meet
// whatever is ready. A request is violated when it meets no ready capacity or more utilization than the SLO allows.
//
//	demand[t] --> ready instances --> utilization --> violated requests
//	                  ^                   |
//	     start-up delay                metric delay
//	                  |                   v
//	              desired  <--------  Policy.Decide
//
// Starting instances are paid for. Demand is taken as given in every tick, never interpolated: a source coarser than the
// tick must be repeated, because a slope between its points would tell policies what nobody knew. NaN is a tick without a
// measurement: it is shown to the policy as such, and not scored.
package simulate
