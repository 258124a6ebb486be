// Package whatif is the file that describes an experiment, what it asks of the runner, and the report of what came of it.
package whatif

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	shadowrunner "github.com/foreshadow/foreshadow/services/shadow-runner"
)

// File is an experiment as a person writes it.
type File struct {
	// Workload is the name of the workload.
	Workload string `yaml:"workload"`
	// Hold is how long each configuration is held under each load.
	Hold time.Duration `yaml:"hold"`
	// Budget bounds the experiment.
	Budget Budget `yaml:"budget"`
	// SideBySide runs as many configurations at a time as the budget allows.
	SideBySide bool `yaml:"side_by_side"`
	// Configurations are tried, each under each of the Loads.
	Configurations []Configuration `yaml:"configurations"`
	// Loads are demands on the whole workload.
	Loads []Load `yaml:"loads"`
}

// Budget bounds an experiment.
type Budget struct {
	// Instances run at a time at most.
	Instances int `yaml:"instances"`
	// Minutes that loads are held in all at most.
	Minutes float64 `yaml:"minutes"`
}

// Configuration is one way to run the workload; what is left out is as in the shadow.
type Configuration struct {
	// Name is unique in the file.
	Name string `yaml:"name"`
	// Instances share the load, 1 unless said; ShadowInstances of them are run, each with its share.
	Instances *int `yaml:"instances"`
	// ShadowInstances is 1 unless said.
	ShadowInstances int `yaml:"shadow_instances"`
	// CPUCores and MemoryBytes of an instance.
	CPUCores float64 `yaml:"cpu_cores"`
	// MemoryBytes of an instance.
	MemoryBytes int64 `yaml:"memory_bytes"`
	// Env is set in the environment.
	Env map[string]string `yaml:"env"`
	// Image is another container image, or program.
	Image string `yaml:"image"`
}

// Load is one demand; exactly one of Times, Rate, RecordedPeak and ForecastDay says how much.
type Load struct {
	// Name is unique in the file.
	Name string `yaml:"name"`
	// Times is a multiple of production's present rate.
	Times float64 `yaml:"times"`
	// Rate is in requests per second.
	Rate float64 `yaml:"rate"`
	// RecordedPeak is the highest rate that was recorded within this time.
	RecordedPeak time.Duration `yaml:"recorded_peak"`
	// ForecastDay is the demand that is forecast for this time from now, in as long as the load is held.
	ForecastDay time.Duration `yaml:"forecast_day"`
	// Quantile of the forecast; 0 = its mean.
	Quantile float64 `yaml:"quantile"`
}

// Read reads a file. The error has one line per fault, each with file and line; then nothing may start.
func Read(path string) (File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("read experiment: %w", err)
	}
	return Parse(path, data)
}

// Parse is Read of what was read already.
func Parse(name string, data []byte) (File, error) {
	f := File{Hold: 30 * time.Second, Budget: Budget{Instances: 1, Minutes: 30}}
	decoding := workload.Decode(name, data, nil, &f)
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		if decoding == nil {
			decoding = fmt.Errorf("%s:1: is empty", name)
		}
		return f, decoding
	}
	errs := []error{decoding}
	for _, fault := range f.faults() {
		said := fmt.Errorf("%s: %s", fault.Field, fault.Problem)
		located := workload.Locate(name, data, nil, said)
		place := strings.TrimSuffix(located.Error(), said.Error())
		if decoding == nil || !strings.Contains(decoding.Error(), place) { // one fault is said once
			errs = append(errs, located)
		}
	}
	return f, errors.Join(errs...)
}

// faults of what the file says, by its own keys.
func (f File) faults() []shadowrunner.ExperimentFault {
	var out []shadowrunner.ExperimentFault
	for i, l := range f.Loads {
		at := fmt.Sprintf("loads[%d]", i)
		ways := 0
		for _, given := range []bool{l.Times != 0, l.Rate != 0, l.RecordedPeak != 0, l.ForecastDay != 0} {
			if given {
				ways++
			}
		}
		switch {
		case ways != 1:
			out = append(out, shadowrunner.ExperimentFault{Field: at, Problem: fmt.Sprintf("want one of times, rate, recorded_peak and forecast_day, got %d", ways)})
		case l.RecordedPeak < 0 || l.ForecastDay < 0:
			out = append(out, shadowrunner.ExperimentFault{Field: at, Problem: "recorded_peak and forecast_day must be positive"})
		case !(l.Quantile >= 0 && l.Quantile < 1) || l.Quantile > 0 && l.ForecastDay == 0:
			out = append(out, shadowrunner.ExperimentFault{Field: at + ".quantile", Problem: "want a value from 0 to below 1, with forecast_day only"})
		}
	}
	// What is resolved later stands as one request per second here.
	for _, fault := range shadowrunner.ExperimentFaults(f.Request(func(Load) Demand { return Demand{Rate: 1} })) {
		key := fileKey(fault.Field)
		saidAbove := strings.HasPrefix(key, "loads[") && strings.HasPrefix(fault.Problem, "want one of")
		if !saidAbove {
			out = append(out, shadowrunner.ExperimentFault{Field: key, Problem: fault.Problem})
		}
	}
	return out
}

// fileKey turns the name of a field of the request into the key of the file.
func fileKey(field string) string {
	field = strings.TrimPrefix(field, "matrix.")
	for _, r := range [][2]string{
		{"max_instances", "budget.instances"}, {"max_minutes", "budget.minutes"}, {"hold_seconds", "hold"}, {".environment", ".env"},
		{".amplification", ".times"}, {".requests_per_second", ".rate"}, {".shape_per_second", ".forecast_day"},
	} {
		field = strings.Replace(field, r[0], r[1], 1)
	}
	return field
}

// Demand is how much a load is once it is known: a rate in requests per second, or rates that follow each other.
type Demand struct {
	Rate  float64
	Shape []float64
}

// Request is what the runner is asked for; resolve says how much the loads are that stand for something recorded or forecast.
func (f File) Request(resolve func(Load) Demand) *foreshadowv1.CreateExperimentRequest {
	m := &foreshadowv1.ExperimentMatrix{MaxInstances: int32(f.Budget.Instances), MaxMinutes: f.Budget.Minutes, SideBySide: f.SideBySide}
	for _, c := range f.Configurations {
		instances := 1
		if c.Instances != nil {
			instances = *c.Instances
		}
		m.Configurations = append(m.Configurations, &foreshadowv1.ExperimentConfiguration{
			Name: c.Name, Instances: int32(instances), ShadowInstances: int32(c.ShadowInstances), CpuCores: c.CPUCores,
			MemoryBytes: c.MemoryBytes, Environment: c.Env, Image: c.Image,
		})
	}
	for _, l := range f.Loads {
		p := &foreshadowv1.ExperimentLoad{Name: l.Name, Amplification: l.Times, RequestsPerSecond: l.Rate}
		if l.RecordedPeak > 0 || l.ForecastDay > 0 {
			d := resolve(l)
			p.RequestsPerSecond, p.ShapePerSecond = d.Rate, d.Shape
		}
		m.Loads = append(m.Loads, p)
	}
	return &foreshadowv1.CreateExperimentRequest{Workload: f.Workload, HoldSeconds: f.Hold.Seconds(), Matrix: m}
}
