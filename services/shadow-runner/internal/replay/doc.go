// Package replay sends captured requests to the shadow at the spacing production received them with.
//
// It is an open loop: a request is due a fixed lag after production received it and is sent then, whether or not earlier
// ones were answered; its latency counts from the moment it was due. So a shadow that stalls is seen to stall, and does not
// slow down the very load that shows it.
//
//	captured -> [thinned?] -> queue by due moment -> send -> counted
//	                 |               |                 |
//	              dropped       queue_full      late, overload, asleep,
//	                                            probing, unverified, ...
//
// The lag must cover the way from the tap to here; clocks of tap and runner are taken to agree to well within it. A request
// that comes too late to keep its spacing is dropped as late, never sent in a burst that production did not have.
//
// How much it can send is its own limit, not the shadow's. On two cores, shared with a server that answers at once, that is 10,000
// requests a second for 1.4 cores of the runner's (make bench-shadow says what it is on a machine); beyond it requests are dropped as
// late or overload and counted, never sent more slowly.
//
// Amplification a keeps whole sessions: each session is sent floor(a) times, and once more for the share a - floor(a) of
// all sessions, chosen by a hash of the session. Copies beyond the first are shifted by up to a second, the same for all
// requests of a session, so that its order and spacing stay and no two copies arrive at once. Each is a session of its own,
// with keys of its own. Their account is one of its own, for they were never captured. A weight says how much of production a
// copy stands for; with Weighted a session is sent that many times as often, which is production's real volume and mix.
package replay
