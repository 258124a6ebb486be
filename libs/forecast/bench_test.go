package forecast_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

// fortnight is 4,320 points of five minutes: fifteen noisy days with a level that wanders.
func fortnight() []float64 {
	rng := rand.New(rand.NewPCG(1, 2))
	out, level := make([]float64, 4320), 1.0
	for i := range out {
		level *= math.Exp(0.005 * rng.NormFloat64())
		out[i] = level * (300 - 150*math.Cos(2*math.Pi*float64(i)/288) + 20*rng.NormFloat64())
	}
	return out
}

var fiveMinutes = forecast.Config{Step: 5 * time.Minute, History: 4320, Horizon: 12}

func BenchmarkFit4320(b *testing.B) {
	e, _ := forecast.New(fiveMinutes)
	if err := e.Load(forecast.Series{Start: epoch, Step: fiveMinutes.Step, Values: fortnight()}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Refit(); err != nil {
			b.Fatal(err)
		}
	}
}

// weeks is n points of a noisy demand with quieter weekends, day points a day.
func weeks(n, day int) []float64 {
	rng := rand.New(rand.NewPCG(3, 4))
	out := make([]float64, n)
	for i := range out {
		out[i] = (300 - 150*math.Cos(2*math.Pi*float64(i)/float64(day))) * (1 + 0.1*rng.NormFloat64())
		if i/day%7 >= 5 {
			out[i] *= 0.7
		}
	}
	return out
}

// BenchmarkFitDayAhead fits for a whole day ahead: eight weeks of hours and of half hours, three weeks of five minutes.
func BenchmarkFitDayAhead(b *testing.B) {
	for _, cfg := range []forecast.Config{
		{Step: time.Hour, History: 1344, Horizon: 24},
		{Step: 30 * time.Minute, History: 2688, Horizon: 48},
		{Step: 5 * time.Minute, History: 6048, Horizon: 288},
	} {
		b.Run(cfg.Step.String(), func(b *testing.B) {
			e, _ := forecast.New(cfg)
			if err := e.Load(forecast.Series{Start: epoch, Step: cfg.Step, Values: weeks(cfg.History, cfg.Horizon)}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Refit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkObserve(b *testing.B) {
	values := fortnight()
	e, _ := forecast.New(fiveMinutes)
	if err := e.Load(forecast.Series{Start: epoch, Step: fiveMinutes.Step, Values: values}); err != nil {
		b.Fatal(err)
	}
	i := len(values)
	b.ReportAllocs()
	for b.Loop() {
		if i%20000 == 0 { // as the product does, only less often, so that the history stays bounded
			b.StopTimer()
			if err := e.Refit(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if err := e.Observe(epoch.Add(time.Duration(i)*fiveMinutes.Step), values[i%len(values)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkForecast(b *testing.B) {
	values := fortnight()
	e, _ := forecast.New(fiveMinutes)
	if err := e.Load(forecast.Series{Start: epoch, Step: fiveMinutes.Step, Values: values}); err != nil {
		b.Fatal(err)
	}
	now := epoch.Add(time.Duration(len(values)) * fiveMinutes.Step)
	if _, err := e.Forecast(now, 12); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Forecast(now, 12); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemory reports what one fitted workload keeps alive.
func BenchmarkMemory(b *testing.B) {
	for _, horizon := range []int{12, 288} {
		b.Run(strconv.Itoa(horizon), func(b *testing.B) {
			cfg := fiveMinutes
			cfg.Horizon = horizon
			values := fortnight()
			for b.Loop() {
				before := heap()
				e, _ := forecast.New(cfg)
				if err := e.Load(forecast.Series{Start: epoch, Step: cfg.Step, Values: values}); err != nil {
					b.Fatal(err)
				}
				for i := range 64 {
					now := epoch.Add(time.Duration(len(values)+i) * cfg.Step)
					if _, err := e.Forecast(now, horizon); err != nil {
						b.Fatal(err)
					}
					if err := e.Observe(now, values[i]); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((heap()-before)/(1<<20), "MiB/workload")
				runtime.KeepAlive(e)
			}
		})
	}
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
