// Package replicator taps production: it sees every request by one of four ways in, counts it, and offers a redacted copy of a
// sample of the sessions to Kafka. It may lose a copy, never a request.
//
// # Which way in when, and what it costs
//
//	way        choose it when                          it sees                            it costs production
//	proxy      Foreshadow may stand in the path        all: requests, bodies, answers,    a hop of some 40 us of CPU per request
//	           (it also spreads load over instances)   latency; HTTP/1.1, HTTP/2, gRPC,   (nginx: 30), and 1.05 to 1.12 times that
//	                                                   WebSocket and other upgrades       with the copy of one session in ten; if
//	                                                                                      it is down, so is the path
//	mirror     a proxy that mirrors is there already:  requests and bodies; no answers,   a second request per request: nginx does
//	           nginx, Envoy, Istio, Gateway API        so no latency, errors or status    0.60 of its throughput when it mirrors to
//	                                                                                      this sink, 0.26 to a sink with bodies, and
//	                                                                                      waits for a slow one
//	packet     nothing in the path may change          requests, bodies, answers and      nothing in the path; 20 us of CPU beside
//	                                                   latency of plain HTTP/1.1; no TLS, it per small request, and what the kernel
//	                                                   no HTTP/2 (both are counted)       drops under load is lost, and counted
//	accesslog  no traffic may be touched at all, or    requests without bodies; headers,  nothing; lines are as late as the
//	           it is about the past                    status, latency as far as logged   server writes them
//
// Prefer the proxy where it may stand: it alone sees all, and what it sees is what production did. Take the mirror next where
// TLS ends in a proxy that mirrors; measure that proxy, for its mirror may cost it more than this sink does. Packets need plain
// text on the wire that is captured (behind the TLS terminator, or a cloud's mirrored VXLAN). A log is the least, and needs
// only a file. With mirror, packet and accesslog production is not balanced by Foreshadow: what is in front goes on to do it.
//
// Limits of the sight are reported as not known, never as zero: a mirrored request is no response, a log without durations has
// no latency. The figures are of make bench-replicator, 2 cores shared by all parts, GETs of 1 KiB; it measures those of the
// machine where it runs.
//
// # The proxy
//
//	user --> proxy ----------------------------> instance (least requests in flight; ready ones only)
//	           |  Begin: count the arrival, stratum, is the session in the sample? (the short way: while the instance works)
//	           |  ... request and response stream through; a bounded part of the body is kept where the policy says so
//	           |  End: count the completion; redact; offer the copy
//	           v
//	          tap --(never waits)--> queue --> foreshadow.traffic.captured.v1     ledger replicator/tap
//	           |
//	           +--(per stratum)--> one second --> foreshadow.metrics.observed.v1  ledger replicator/observations
//
// Plain HTTP/1.1 requests take a short way past net/http, whose correctness is the default for all else; internal/proxy says
// what is plain (Front), internal/wire how strictly it is read, and short_way: false does without.
//
// What it promises:
//   - A broker, shadow or database that is away changes nothing for a user, and does not make the replicator unready: a load
//     balancer in front would take production away. Copies are then dropped, and counted, when the queue is full.
//   - While the platform is away the instances it reported last keep serving.
//   - As many clients are let in as have a file descriptor for a connection to an instance each; whoever is in is answered. When
//     more come, those that were idle for longest make room. So it is with what mirrors into a sink.
//   - At the end no request is lost: for a tenth of drain_timeout whoever asks on an open connection is answered, and told that it was
//     the last time; what is under way has all of it.
//   - Every request that the handler saw is in exactly one observation as an arrival and in exactly one as a completion,
//     and in the ledger with its fate. Requests that net/http refuses before (malformed heads) are in neither.
//   - Copying is what yields: above cpu_budget the sample is shed, by whole sessions and with weights that follow, a full
//     queue drops the newest copies, and beyond 64 MiB of request bodies on their way the next are dropped. A request is never
//     shed, nor kept waiting for its copy. A fault of ours that a request meets while it is copied costs the copy alone.
//   - Reload changes sampling, strata and redaction for requests that begin later, and touches no connection.
//   - Of HTTP that two servers may read in two ways, each shape is refused, or passed on as one unambiguous request that the
//     copy says the same of.
//   - A request that the shadow sent is refused with 508 and never proxied. It is counted under the route `loop`, apart from
//     users' strata, and is no failure.
//   - All redaction comes before the queue, and TestCanary hunts 10,000 planted secrets through topics, logs, metrics and
//     tables. Headers leave by allow-list, on which credentials cannot stand; values of queries, forms, matrix parameters and
//     JSON by tap.redact_query and tap.redact_json (by default all of them) as keyed pseudonyms; whatever looks like a secret
//     (mail address, token, payment card, telephone number), matches tap.redact_patterns, or follows a path segment such as
//     /reset/ is replaced wherever it is, however often it was percent-encoded. Client addresses leave truncated to /24 and
//     /48. Other path segments leave as they are, for the shadow has to be asked for the same thing: name a secret that is an
//     ordinary word by a pattern, or leave its route out with a rule of sample_ratio 0.
//   - Nothing that looks like a secret becomes the name of a route, and so part of a metric or of the history.
//   - Bodies: only where a rule, or tap.methods, allows a method that has one; full, prefix, hash or none by the rule. Forms,
//     JSON, multipart forms and text are written anew, redacted; one that cannot be read as what it says it is leaves size and
//     keyed hash alone, and so does one beyond tap.max_body_bytes, which is flagged. Any other media type in keep_bodies
//     travels as it is.
//   - The body of an answer is passed on as it comes, and leaves no more than its shape: of sampled JSON answers, at most
//     tap.answer_shapes_per_second, up to 64 KiB are copied while they stream by (16 MiB in all), and read when the client has
//     them. No value leaves, and no name but those that several sessions' answers share (libs/traffic/bodyshape).
//   - A copy's weight is the inverse of the probability with which it was chosen, and each second says how well the copies
//     show production (internal/sample says how, and why it can be believed).
//
// A client that goes away is counted as a response, not as an error; it breaks the SLO only when it had waited beyond the
// SLO latency without an answer, or an overload from which users flee would look like health. Latency ends with the last
// byte, but for upgraded connections and event streams, whose length is the client's choice: there it ends with the head.
package replicator
