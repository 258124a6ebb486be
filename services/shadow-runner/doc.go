// Package shadowrunner replays captured production traffic against the shadow, says what the shadow did, and measures what
// one instance carries within the SLO.
//
//	traffic.captured --> de-duplicate --+--> replay (open loop) --> shadow instances      per workload: a lane
//	                                    |        |
//	                                    |        +--> one observation per second --> metrics.observed
//	                                    +--> reservoir: the mix, and production's rate
//	                                               |
//	                     capacity unknown or old --+--> measure one leased instance --> capacity.measured
//	                     ExperimentService --------+--> hold the loads asked for
//
// What it promises:
//
//   - A request never reaches production. Connections are allowed when they are dialled, on the resolved address, to the
//     present instances of the shadow only; redirects are not followed; with one address on both sides nothing is sent.
//   - Methods outside tap.methods are never sent.
//   - Every captured event is accounted for on the ledger shadow-runner/replay, every request of a measurement on
//     shadow-runner/probe, every observation on shadow-runner/observations.
//   - Observations hold the replay only: what measurements and experiments send is no demand, and would spoil the shadow's
//     latency. They are sent every second, with no traffic too: when the shadow sleeps that is what there is to say.
//   - A measurement that could not be made is published as not valid, with its reason; never as a capacity of zero.
//
// One runner measures a workload at a time; a second one shares the replay, but would measure the same instance. Experiments
// are kept in memory: they end with the process.
package shadowrunner
