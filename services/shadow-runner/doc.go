// Package shadowrunner replays captured production traffic against the shadow, says what the shadow did, and measures what
// one instance carries within the SLO.
//
//	traffic.captured --> de-duplicate --+--> replay (open loop) --> shadow instances      per workload: a lane
//	                                    |        |
//	                                    |        +--> one observation per second --> metrics.observed
//	                                    +--> reservoir: the mix, and production's rate
//	                                               |
//	  capacity unknown, old, not precise, --+------+--> measure one leased instance --> capacity.measured
//	  or the mix has moved                  |      |
//	  an instance is fresh -----------------+      +--> configurations under loads --> experiment.recorded
//	  ExperimentService -> durable ----------------+    on the shadow, or on trials beside it
//
// What it promises:
//
//   - A request never reaches production. Connections are allowed when they are dialled, on the resolved address, to the
//     present instances of the shadow only; redirects are not followed; with one address on both sides nothing is sent.
//   - Methods outside tap.methods are never sent, and those that change state only on the routes of replay.state_changing.
//   - Every captured event is accounted for on the ledger shadow-runner/replay, every request of a measurement on
//     shadow-runner/probe, every observation on shadow-runner/observations.
//   - Observations hold the replay only: what measurements and experiments send is no demand, and would spoil the shadow's
//     latency. They are sent every second, with no traffic too: when the shadow sleeps that is what there is to say. A runner in
//     reserve has nothing to say.
//   - Where the shadow answers otherwise than production is said with the noise removed (package compare); what is not known of
//     an answer is not compared.
//   - A measurement begins once all that was replayed to its instance has ended; nothing more is replayed to it until it is over.
//   - A measurement that could not be made is published as not valid, with its reason; never as a capacity of zero. A load
//     that the platform replaced the instance under is one that it does not carry, and is not come near again; one that killed an
//     instance which answered well until then, once it has killed another. What an experiment says of a configuration that
//     production does not run is marked, and never valid.
//
// One runner of an installation drives its shadows: it has the seat, and all of traffic.captured with it (see seat). Others are in
// reserve, and know what was measured; one takes over at once when the first is stopped, and 8 s after it was killed. What the first was
// measuring is given up and measured anew; experiments are kept in a topic of their own, and go on where they were.
package shadowrunner
