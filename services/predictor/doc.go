// Package predictor foresees what a workload will need and says so before it needs it.
//
//	HistoryService --(at start, and when old windows come)--> model.LoadHistory
//	metrics.windowed  --+
//	capacity.measured --+--(live)--> model.Observe...
//	scaling.applied   --+
//	                 each interval:  model.Predict  = forecast -> correlate -> scaling.Decide
//	                                      |
//	                    scaling.recommended, RecommendationService, ForecastService, KEDA
//
// The predictor keeps nothing of its own: after a crash it reads history and goes on. It recommends in every interval,
// also when it knows little; a recommendation that rests on missing data holds what runs and says why. Reading the same
// event twice changes nothing.
package predictor
