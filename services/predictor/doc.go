// Package predictor foresees what a workload will need and says so before it needs it.
//
//	HistoryService --(learner: at the start, and when old windows come)--> model.LoadHistory, a new fit swapped in
//	metrics.windowed  --+
//	capacity.measured --+--(feed: live)--> model.Observe...
//	scaling.applied   --+
//	                 each interval:  model.Predict  = forecast -> correlate -> scaling.Decide
//	                                      |
//	                    scaling.recommended, RecommendationService, ForecastService, KEDA
//
// Deciding never waits for learning: each workload has a goroutine for either, and while history is away or slow the
// decisions go on with what came live.
//
//	a window is      within 3 s of its end   its step waits for it
//	                 later, within minutes   its step is corrected and learnt from at the next fit
//	                 older (imports)         history is read anew, at most every 5 s
//	                 repeated                left out
//
// The predictor keeps nothing of its own: after a crash it reads history and goes on, above the generations it made before.
// It recommends in every interval from when it knows what runs, also when it knows little else; a recommendation that rests
// on missing data holds what runs and says why. Reading the same event twice changes nothing.
package predictor
