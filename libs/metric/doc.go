// Package metric holds observations and windows: counters and latency sketches that merge exactly, in any order and
// grouping, and the ledger by which every hop accounts for all that passed through it.
//
// A request is counted at its arrival (Requests) and once more when it ends (Responses, Errors, Latency), each in the
// window of that moment; so demand is known at once, and requests minus responses are those in flight.
package metric
