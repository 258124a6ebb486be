// Package measure holds load on one shadow instance and says what it carries. The instance is taken out of the replay for
// that time. Requests are drawn from the mix of recent traffic and sent in an open loop: each has its moment, is sent then
// whatever became of the ones before, and its latency counts from that moment. Between two levels every request is waited
// for, so that a level does not inherit the queue of the one before.
//
// What comes out is a CapacityMeasured: valid with an interval, or not valid with the reason. An instance that is down or
// hangs is a reason, never a capacity of zero.
package measure
