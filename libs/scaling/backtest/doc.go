// Package backtest answers, on a user's own history, the question that decides whether to use Foreshadow: what would it
// have cost and violated, and what would the alternatives have?
//
//	series --> demand per tick --+--> forecasts, made walking forward --+
//	                             |                                      v
//	                             +--> simulate: Foreshadow (the live scaling.Decide), the exact HPA, what else people
//	                                  run, and a clairvoyant; each over a sweep of its own target
//	                                            |
//	                                            v
//	                             Report: table, self-contained HTML, JSON
//
// No policy sees anything before it happened; the start of the history is a warm-up that nobody is scored on. A single
// flattering point proves nothing, so every policy is a curve of violations against cost, read at the HPA's cost and at
// the HPA's violations. Equal input and options give an equal report.
//
// Forecasting is most of the work of a single run, and depends on neither policies, fleets nor (within an hour) start-up times:
// Options.Forecasts keeps what was foreseen in a folder, for as long as neither the series nor the code that forecasts changes.
package backtest
