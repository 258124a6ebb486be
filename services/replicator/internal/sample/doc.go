// Package sample decides which sessions are copied, at what rate, and says how well the copies show production.
//
// # Design
//
// A session has a fixed place u in [0, 1), a keyed hash of its identity (traffic.Sampler). A request of the session in
// stratum h is copied when u < p_h, the rate of its stratum, and carries the weight 1/p_h. This is Poisson sampling of
// sessions with permanent random numbers: sticky (a session keeps its place), nested (the 5 % sample lies in the 10 % one,
// and the sample of one stratum in that of another with a higher rate), and free of a seed that a client could guess.
//
// # Estimator
//
// With n_jh requests of session j in stratum h, and I_jh = [u_j < p_h], the Horvitz-Thompson estimate of the requests of a
// stratum, and the ratio (Hajek) estimate of its share and of the distribution F of latencies y, are
//
//	N^_h = sum_j I_jh n_jh / p_h        s^_h = N^_h / sum_k N^_k        F^(x) = sum_i w_i [y_i <= x] / sum_i w_i
//
// all of them consistent, the first unbiased. Sessions are what is drawn, so they are what varies: with nested samples
//
//	Var(N^) = sum_j sum_h sum_k n_jh n_jk (1/max(p_h, p_k) - 1)
//
// which is DesignEffect times what the same number of requests drawn one by one would give; on a real log it was 60.
//
// # Interval
//
// The tap sees all traffic, not only what it copies. It therefore knows the population and need not estimate variances from
// the sample: it keeps how many requests each session sent per stratum and bin of latency over the last Span (of a part of
// the sessions when there are too many), draws the sample anew from them some hundred times by the same design, and reads
// off how far mix and p95 stray. The intervals so hold for few and very unequal sessions too, where those from the normal
// distribution do not: on a real log at 5 % the usual interval for p95 (Woodruff 1952, with the variance above) held in 88 %
// of the runs, and this one in 98 % or more. The mix is judged by the total variation distance between the shares; p95 by
// the rank in production at which the sample's p95 lies, which the latencies of the span turn into seconds.
//
// What the figure does not show: copies that were selected and then lost (the ledger counts them), requests that are never
// selected (methods that change state, rules with a rate of 0; they are not part of the population), traffic that changes
// faster than Span, and rates that differ within a stratum (rules for two routes that share the name `other`): the last one
// seen stands for the stratum, while each copy's weight is still its own.
//
// Every Interval this takes some ten milliseconds, and memory is bounded: beyond some ten thousand sessions in an Interval
// the figure is read off a part of them and all long ones (tracker.go), where variance sits.
//
// # Rates
//
// The rate of a stratum is its rule's or the tap's; with a target it comes from Neyman's allocation (plan.go). Caps scale
// all rates by one factor, so that weights stay what they are; what exceeds a cap all the same within a second is dropped.
package sample
