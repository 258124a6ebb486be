package console_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/console"
)

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	cfg := console.DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	cfg.Listen, cfg.Predictor, cfg.Retention, cfg.MaxClients = "8080", "", 0, 0
	err := cfg.Validate()
	for _, key := range []string{"console.listen", "console.predictor", "console.retention", "console.max_clients"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

func TestPlainTextBeyondLoopbackIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*console.Config)
		refused bool
	}{
		"loopback":              {func(c *console.Config) { c.Listen = "[::1]:8090" }, false},
		"every address":         {func(c *console.Config) { c.Listen = "0.0.0.0:8090" }, true},
		"every address, unsaid": {func(c *console.Config) { c.Listen = ":8090" }, true},
		"a name":                {func(c *console.Config) { c.Listen = "console.example.org:8090" }, true},
		"over TLS":              {func(c *console.Config) { c.Listen, c.TLS = "0.0.0.0:8090", true }, false},
		"asked for":             {func(c *console.Config) { c.Listen, c.Insecure = "0.0.0.0:8090", true }, false},
	} {
		cfg := console.DefaultConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if refused := err != nil && strings.Contains(err.Error(), "console.insecure"); refused != c.refused {
			t.Errorf("%s: %v, want it refused: %v", name, err, c.refused)
		}
	}
}

func TestRunNamesTheAddressItCannotListenOn(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	cfg := console.DefaultConfig()
	cfg.Listen = strings.TrimPrefix(h.url, "http://")
	s, err := console.New(cfg, console.Deps{
		Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Admin: telemetry.NewAdmin(prometheus.NewRegistry()),
		Workloads: []workload.Workload{shopWorkload()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), cfg.Listen) {
		t.Errorf("Run = %v, want an error that names %s", err, cfg.Listen)
	}
}
