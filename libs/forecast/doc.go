// Package forecast predicts the demand of one workload a few steps to a few cycles ahead, with calibrated quantiles.
//
//	Load/Observe -> history (regular grid, gaps stay gaps)
//	                   |
//	                 Refit: detect periods -> train every model at several points of the past -> rolling-origin
//	                   |     backtest -> weights per horizon -> residual paths      (expensive, amortised, may run aside)
//	                   v
//	Forecast(now, horizon) -> pooled mean + residual paths -> quantiles per step and of the maximum over steps
//	                   |
//	Observe scores it later -> calibration follows drift; Trust says whether the forecast has been worth having
//
// What a value of the series stands for is the caller's choice: the mean over its step, or its peak. Scaling needs peaks, and a
// history of peaks over five minutes holds two weeks in as many points as one of means over a minute holds three days: feed
// Series.Peaks, or the highest of the finer values within each step, and read Quantile and MaxQuantile as those of peaks. One Engine
// holds one kind; a caller who wants both keeps two.
//
// A Calendar tells what no history can: events, and by which clock the users live. See package calendar.
//
// What it promises:
//   - Units are the caller's (requests per second, cores, bytes); nothing assumes one.
//   - A gap is a missing point, never zero load. NaN, infinities and absurd magnitudes count as missing.
//   - A forecast is finite, its quantiles do not cross, and it never falls below zero when the history never did;
//     where that cannot be had the answer is an *Abstention with a reason, not a guess.
//   - Periods are found in the data: several, of any length, and only ones seen through at least three cycles.
//   - Equal input and equal configuration give equal output, bit for bit.
//   - An Engine is safe for concurrent use; Refit does its work on a snapshot and only swaps the result under the lock.
package forecast
