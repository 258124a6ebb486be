package pool

import (
	"slices"

	"github.com/foreshadow/foreshadow/libs/forecast/internal/model"
)

// ridgePenalty is strong on purpose: the features overlap, and what helps one origin seldom helps the next.
const ridgePenalty = 0.1

// maxOrder bounds the autoregressions; AIC decides below it.
const maxOrder = 24

// lineup is the pool for this history, or the one model asked for. The models are chosen to err differently: the median of
// a diverse pool beats its best member.
func lineup(d *model.Data, opt Options) []model.Trainer {
	all := []model.Trainer{
		model.Naive{Data: d},
		model.Smoothing{Data: d, Label: "ses"},
		model.Autoregression{Smoothing: model.Smoothing{Data: d, Label: "ar"}, MaxOrder: maxOrder},
		model.NewRidge("ridge", model.NewFeatures(d, false), opt.Horizon, ridgePenalty),
		model.NewAnalog("analog", d, model.AnalogOptions{Window: 16, Matches: 12}),
		model.NewAnalog("analog_long", d, model.AnalogOptions{Window: 48, Matches: 8}),
	}
	if d.Positive {
		all = append(all, model.NewRidge("ridge_log", model.NewFeatures(d, true), opt.Horizon, ridgePenalty))
		if len(d.Periods) == 0 {
			all = append(all, model.NewAnalog("analog_log", d, model.AnalogOptions{Window: 12, Matches: 20, Log: true}))
		}
	}
	if len(d.Periods) > 0 {
		all = append(all, model.NewHarmonic("harmonic", d, maxOrder))
		if d.Positive {
			all = append(all, model.NewLogged(d, func(logs *model.Data) model.Trainer {
				return model.NewHarmonic("harmonic_log", logs, maxOrder)
			}))
		}
	}
	for i, m := range d.Periods {
		all = append(all, seasonal(d, m, suffixes[i])...)
		all = append(all, proportional(d, m, suffixes[i])...)
		if !d.Positive || i > 0 {
			// Of the longer cycle there is little to learn from: both forms together do better than either.
			all = append(all, seasonalAR(d, m, "seasonal_ar"+suffixes[i]), analogPhase(d, m, "analog_phase"+suffixes[i]))
		}
	}
	all = append(all, dayAhead(d, opt)...)
	if opt.Method == "" {
		return all
	}
	all = append(all, comparisons(d)...)
	return slices.DeleteFunc(all, func(t model.Trainer) bool { return t.Name() != opt.Method })
}

// dayAhead are what the pool has besides for forecasts about a day ahead, where there is a week to deviate from: one that trusts
// the average week and one that is quick to leave it.
func dayAhead(d *model.Data, opt Options) []model.Trainer {
	if !opt.dayAhead(d.Periods) {
		return nil
	}
	ridge := func(label string, halfLife, penalty float64) model.Trainer {
		of := func(d *model.Data) model.Trainer {
			return model.NewRobustRidge(label, model.NewDeviations(d, d.Periods[0], d.Periods[1], halfLife), opt.Horizon, penalty)
		}
		if !d.Positive {
			return of(d)
		}
		return model.NewLogged(d, of)
	}
	return []model.Trainer{ridge("week", 6, 0.3), ridge("week_recent", 3, 0.05)}
}

// suffixes tell the models of the shorter cycle from those of the longer one.
var suffixes = []string{"", "_second"}

// comparisons are well-known methods that can be asked for by name; in the pool they cost time and changed nothing.
func comparisons(d *model.Data) []model.Trainer {
	out := []model.Trainer{
		model.HoltWinters{Data: d, Label: "holt"},
		model.ETS{Data: d, Label: "ets"},
		model.Theta{Data: d, Periods: d.Periods, Label: "theta"},
		model.Decomposition{Data: d, Periods: d.Periods, Label: "stl_ets"},
		model.Decomposition{Data: d, Periods: d.Periods, MaxOrder: maxOrder, Label: "stl_ar"},
	}
	for i, m := range d.Periods {
		out = append(out,
			model.HoltWinters{Data: d, Period: m, Label: "holt_winters" + suffixes[i]},
			model.Smoothing{Data: d, Period: m, Cycles: 7, Label: "snaive_level" + suffixes[i]})
	}
	return out
}

// seasonal are the models that repeat one cycle.
func seasonal(d *model.Data, m int, suffix string) []model.Trainer {
	return []model.Trainer{
		model.SeasonalNaive{Data: d, Period: m, Label: "snaive" + suffix},
		model.Profile{Data: d, Period: m, Cycles: 7, Label: "profile" + suffix},
		model.SeasonalChange{Data: d, Period: m, Cycles: 7, Smooth: 1, Label: "change" + suffix},
		model.SeasonalChange{Data: d, Period: m, Cycles: 7, Smooth: 1, Median: true, Label: "change_median" + suffix},
		model.SeasonalChange{Data: d, Period: m, Cycles: 2, Smooth: 3, Label: "change_recent" + suffix},
	}
}

// proportional are those whose cycle grows and shrinks with the level, where there are logarithms.
func proportional(d *model.Data, m int, suffix string) []model.Trainer {
	if !d.Positive {
		return nil
	}
	return []model.Trainer{
		model.NewLogged(d, func(logs *model.Data) model.Trainer { return seasonalAR(logs, m, "seasonal_ar_log"+suffix) }),
		model.NewLogged(d, func(logs *model.Data) model.Trainer { return analogPhase(logs, m, "analog_phase_log"+suffix) }),
	}
}

func seasonalAR(d *model.Data, m int, label string) model.Trainer {
	return model.Autoregression{Smoothing: model.Smoothing{Data: d, Period: m, Cycles: 7, Label: label}, MaxOrder: maxOrder}
}

func analogPhase(d *model.Data, m int, label string) model.Trainer {
	return model.NewAnalog(label, d, model.AnalogOptions{Period: m, Window: max(4, m/12), Matches: 3})
}
