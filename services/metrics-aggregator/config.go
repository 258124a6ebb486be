package aggregator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
)

// Config is the section `metrics_aggregator` of the configuration file.
type Config struct {
	// Listen is host:port of HistoryService.
	Listen string `yaml:"listen"`
	// Admin is host:port of the admin listener.
	Admin string `yaml:"admin"`
	// Database is a PostgreSQL URL; it comes from the section `database`.
	Database workload.Secret `yaml:"-"`
	// Window is the width of a traffic window. Observations must not be longer, and end in the window they begin in.
	Window time.Duration `yaml:"window"`
	// UsageInterval is the width of a usage window; not shorter than the platform's own readings are apart.
	UsageInterval time.Duration `yaml:"usage_interval"`
	// Retention is how long windows and decisions are kept; older observations are refused.
	Retention time.Duration `yaml:"retention"`
}

// DefaultConfig needs only a database.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:7003", Admin: "127.0.0.1:9103",
		Window: time.Second, UsageInterval: time.Second, Retention: 90 * 24 * time.Hour,
	}
}

// Validate names the key of each fault.
func (c Config) Validate() error {
	var errs []error
	for key, address := range map[string]string{"listen": c.Listen, "admin": c.Admin} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			errs = append(errs, fmt.Errorf("%s: want host:port, got %q", key, address))
		}
	}
	if c.Database == "" {
		errs = append(errs, errors.New("database url: is empty"))
	} else if err := database.Check(c.Database); err != nil {
		errs = append(errs, err)
	}
	for key, d := range map[string]time.Duration{"window": c.Window, "usage_interval": c.UsageInterval} {
		// Windows must not straddle days, by which they are stored.
		if d < 100*time.Millisecond || d%time.Millisecond != 0 || (24*time.Hour)%d != 0 {
			errs = append(errs, fmt.Errorf("%s: want whole milliseconds, at least 100ms, that divide a day, got %s", key, d))
		}
	}
	if c.Retention < 24*time.Hour {
		errs = append(errs, fmt.Errorf("retention: want at least 24h, got %s", c.Retention))
	}
	return errors.Join(errs...)
}

// Ping proves that the database can be reached with the given URL. Its error names the address, never the password.
func Ping(ctx context.Context, url workload.Secret) error {
	pool, err := database.Open(url)
	if err != nil {
		return err
	}
	defer pool.Close()
	return database.Ping(ctx, pool)
}
