package predictor

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

func TestHowForecastsFaredIsShownOnceOneWasScored(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	g := newGauges(registry)
	g.setTrust("new", forecast.Trust{})
	g.setTrust("shop", forecast.Trust{Samples: 40, Coverage: 0.9, Pinball: 3, ReactivePinball: 12, MAE: 5, ReactiveMAE: 20})
	want := `
# HELP foreshadow_predictor_forecast_coverage_ratio Share of recent values at or below the 0.95 quantile that was forecast; 0.95 is right.
# TYPE foreshadow_predictor_forecast_coverage_ratio gauge
foreshadow_predictor_forecast_coverage_ratio{workload="shop"} 0.9
# HELP foreshadow_predictor_forecast_error_requests_per_second Mean absolute error of recent forecasts.
# TYPE foreshadow_predictor_forecast_error_requests_per_second gauge
foreshadow_predictor_forecast_error_requests_per_second{workload="shop"} 5
# HELP foreshadow_predictor_forecast_skill_ratio Share of the 0.95 quantile's loss under the last value that the forecast avoids: 1 is perfect, below 0 worse.
# TYPE foreshadow_predictor_forecast_skill_ratio gauge
foreshadow_predictor_forecast_skill_ratio{workload="shop"} 0.75
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "foreshadow_predictor_forecast_coverage_ratio",
		"foreshadow_predictor_forecast_error_requests_per_second", "foreshadow_predictor_forecast_skill_ratio"); err != nil {
		t.Error(err)
	}
}
