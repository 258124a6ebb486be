// Package correlate learns which traffic drives which resource: what one request of each stratum costs one instance in
// CPU, memory and network, and what the instance uses while idle.
//
//	usage of one instance = base + sum over strata (per request cost x requests per second)
//
// With rates in requests/s, a CPU usage in cores gives core-seconds per request, a network usage in bytes/s gives bytes
// per request, and a memory usage in bytes gives bytes per request/s held.
//
// The estimate is ordinary least squares with no negative cost and no negative base (Lawson and Hanson's active set,
// Solving Least Squares Problems, 1974, chapter 23). Each least-squares step is run by sajari/regression on the reduced
// problem: the rows +R and -R of a QR decomposition of [X|y] have the same normal equations as the data, so the same
// answer, at a size that does not grow with the number of observations.
//
// Fit refuses what data cannot tell apart (ErrCollinear names the strata) rather than answering with an arbitrary split;
// Observations.Total is the coarser question to ask then. Absent values are dropped, never taken for zero.
package correlate
