// Package console is the page an SRE looks at, and the HTTP/JSON gateway under it. It owns nothing: all it shows comes
// over gRPC from the services that do, and a service that is away is shown as away, never as zero.
//
//	HistoryService        (metrics-aggregator) --+
//	RecommendationService (predictor) -----------+    one subscription    +--> browser (Server-Sent Events)
//	ForecastService       (predictor) -----------+--> per workload: live -+--> browser
//	ProvisioningService   (provisioner) ---------+                        +--> ...
//	ExperimentService     (shadow-runner) -------+--> gateway: /api/v1/... <-- curl, pause and resume
//
// It promises: one upstream subscription per workload however many browsers look; a browser that cannot keep up is
// disconnected, gets a fresh snapshot when it comes back, and never delays another; a state-changing request is accepted
// only as JSON from the page's own origin. The web sources are in web/, built by Vite into web/dist and embedded.
package console
