// Package replicator taps production. It stands in the data path as a reverse proxy, passes every request to a ready
// instance, counts it, and offers a redacted copy of a sample of the sessions to Kafka. It may lose a copy, never a request.
//
//	user --> proxy ----------------------------> instance (least requests in flight; ready ones only)
//	           |  Begin: count the arrival, stratum, is the session in the sample?
//	           |  ... request and response stream through; a bounded part of the body is kept where the policy says so
//	           |  End: count the completion; redact; offer the copy
//	           v
//	          tap --(never waits)--> queue --> foreshadow.traffic.captured.v1     ledger replicator/tap
//	           |
//	           +--(per stratum)--> one second --> foreshadow.metrics.observed.v1  ledger replicator/observations
//
// What it promises:
//   - A broker, shadow or database that is away changes nothing for a user, and does not make the replicator unready: a load
//     balancer in front would take production away. Copies are then dropped, and counted, when the queue is full.
//   - While the platform is away the instances it reported last keep serving.
//   - Every request that the handler saw is in exactly one observation as an arrival and in exactly one as a completion,
//     and in the ledger with its fate. Requests that net/http refuses before (malformed heads) are in neither.
//   - A request that the shadow sent is refused with 508 and never proxied. It is counted under the route `loop`, apart from
//     users' strata, and is no failure.
//   - All redaction comes before the queue. Headers leave by allow-list; query values, form values and matrix parameters by
//     tap.redact_query (by default all) as keyed pseudonyms; whatever looks like a mail address, a token, a payment card or
//     a telephone number is replaced in paths and queries too. Other path segments, the host and the User-Agent (when
//     allowed) leave as they are: the shadow has to be asked for the same thing.
//   - Bodies: only of methods in tap.methods other than GET, HEAD, OPTIONS and TRACE, so none by default; of these only the
//     media types in keep_bodies, by default forms, which are redacted like a query. Any other type that is listed travels
//     as it is. Beyond tap.max_body_bytes only size and SHA-256 remain.
//
// A client that goes away is counted as a response, not as an error; it breaks the SLO only when it had waited beyond the
// SLO latency without an answer, or an overload from which users flee would look like health. Latency ends with the last
// byte, but for upgraded connections and event streams, whose length is the client's choice: there it ends with the head.
package replicator
