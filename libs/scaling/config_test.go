package scaling

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestConfigFaster(t *testing.T) {
	t.Parallel()
	c := DefaultConfig().Faster(15)
	if c.Interval != time.Second || c.DownHold != 20*time.Second || c.HPA.Sync != time.Second || c.HPA.DownHold != 20*time.Second {
		t.Errorf("%+v", c)
	}
	if c.Risk != DefaultConfig().Risk || c.MaxInstances != DefaultConfig().MaxInstances {
		t.Errorf("compressing time changed more than times: %+v", c)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	c := DefaultConfig()
	c.MinInstances, c.MaxInstances, c.Risk, c.Headroom = -1, -2, math.NaN(), -1
	c.Lifetime, c.HPA.Sync, c.ShadowInstances, c.HPA.TargetPercent = -1, -1, -1, -1
	err := c.Validate()
	if err == nil {
		t.Fatal("an impossible configuration is accepted")
	}
	for _, name := range []string{"min_instances", "max_instances", "risk", "headroom", "lifetime", "hpa.sync", "shadow_instances", "hpa.target_percent"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
	if strings.Contains(err.Error(), "interval") {
		t.Errorf("%q complains of a good field", err)
	}
	if err := c.usable().Validate(); err != nil {
		t.Errorf("a repaired configuration is still impossible: %v", err)
	}
}
