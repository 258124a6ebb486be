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
//	                 ahead by over a minute  left out: all that comes until then would be old beside it
//
// What it learnt by deciding and cannot be read from history, which fleets on paper would have cost what, it keeps for itself:
//
//	model.Memory  --every 4 decisions, and at the end--> scaling.remembered (compacted, the newest of each workload)
//	      at the start, before the first decision: <----    read, and model.Recall'ed
//
// After a crash it reads both and goes on, above the generations it made before. A memory that cannot be read with certainty, or
// is older than what it speaks of, is a start without one, and so is one that does not come within ten seconds until it comes.
// Whatever it holds, the first decisions do not shrink what runs: see scaling.State.Resume.
//
// It recommends in every interval from when it knows what runs, also when it knows little else; a recommendation that rests
// on missing data holds what runs and says why. Reading the same event twice changes nothing.
package predictor
