package docker

import (
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"

	"github.com/foreshadow/foreshadow/libs/platform"
)

func TestSizesChangeOneFirstThenTheRest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web")
	r.start()
	r.await("the template", ready(1))
	r.scale(3)
	r.await("three instances", ready(3))
	r.Requests()
	want := platform.Size{CPUCores: 0.75, MemoryBytes: 96 << 20}
	r.scale(3, want)
	s := r.await("all to have it", func(s platform.State) bool {
		for _, i := range s.Instances {
			if i.Size != want {
				return false
			}
		}
		return s.Ready() == 3
	})
	if s.Size != want || len(s.Instances) != 3 {
		t.Errorf("state %+v", s)
	}
	// Between the first and the second the first was looked at.
	updates, looked := 0, false
	for _, q := range r.Requests() {
		switch {
		case strings.HasSuffix(q, "/update"):
			if updates++; updates == 2 && !looked {
				t.Error("the second was changed before the first had shown that it serves")
			}
		case updates == 1 && strings.HasSuffix(q, "/json"):
			looked = true
		}
	}
	if updates != 3 {
		t.Errorf("%d updates, want 3", updates)
	}
	for _, c := range r.All() {
		if h := c.Inspect().HostConfig; h.NanoCPUs != 75e7 || h.Memory != 96<<20 || h.MemorySwap != (64+96)<<20 || h.RestartPolicy.Name != "unless-stopped" {
			t.Errorf("%s has %+v", c.Inspect().Name, h.Resources)
		}
	}
	r.scale(4)
	r.await("a fourth", ready(4))
	if h := r.Find("shop-web-4").Inspect().HostConfig; h.NanoCPUs != 75e7 || h.Memory != 96<<20 {
		t.Errorf("a new one has %+v", h.Resources)
	}
}

func TestMemoryThatIsInUseIsNotTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.Compose("shop", "web")
	c.Use(1, 40<<20, 0, 0)
	r.start()
	r.await("the template", ready(1))
	r.Requests()
	r.scale(1, platform.Size{MemoryBytes: 32 << 20})
	seen := ""
	r.until("its use to be looked at", func() bool {
		seen += strings.Join(r.Requests(), " ")
		return strings.Count(seen, "/stats") >= 2
	})
	if strings.Contains(seen, "/update") || c.Inspect().HostConfig.Memory != 64<<20 {
		t.Errorf("the limit was lowered to %d below what is used", c.Inspect().HostConfig.Memory)
	}
	c.Use(1, 20<<20, 0, 0)
	r.await("it to be lowered", func(s platform.State) bool { return s.Instances[0].Size.MemoryBytes == 32<<20 })
}

func TestUsage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Compose("shop", "web").Use(12.5, 30<<20, 1000, 2000)
	r.start()
	r.await("the template", ready(1))
	r.scale(2)
	s := r.await("two instances", ready(2))
	u, err := r.client.Usage(t.Context(), "web")
	if err != nil || len(u) != 2 {
		t.Fatalf("%+v, %v", u, err)
	}
	got := u[0]
	if got.Instance != s.Instances[0].ID || got.CPUSeconds != 12.5 || got.MemoryBytes != 30<<20 || got.ReceivedBytes != 1000 || got.TransmittedBytes != 2000 || !got.Ready || got.Time.IsZero() {
		t.Errorf("usage %+v", got)
	}
}

func TestSizeIsSaidAsItWasBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, want container.Resources
		size      platform.Size
	}{
		"cores": {
			container.Resources{NanoCPUs: 1e9}, container.Resources{NanoCPUs: 25e7}, platform.Size{CPUCores: 0.25}},
		"quota": {
			container.Resources{CPUQuota: 50_000, CPUPeriod: 50_000}, container.Resources{CPUQuota: 12_500, CPUPeriod: 50_000}, platform.Size{CPUCores: 0.25}},
		"quota of the usual period": {
			container.Resources{CPUQuota: 50_000}, container.Resources{CPUQuota: 25_000, CPUPeriod: 100_000}, platform.Size{CPUCores: 0.25}},
		"no limit before": {
			container.Resources{}, container.Resources{NanoCPUs: 25e7, Memory: 100, MemorySwap: 200}, platform.Size{CPUCores: 0.25, MemoryBytes: 100}},
		"no swap": {
			container.Resources{Memory: 50, MemorySwap: 50}, container.Resources{Memory: 100, MemorySwap: 100}, platform.Size{MemoryBytes: 100}},
		"all the swap": {
			container.Resources{Memory: 50, MemorySwap: -1}, container.Resources{Memory: 100, MemorySwap: -1}, platform.Size{MemoryBytes: 100}},
		"reserved": {
			container.Resources{Memory: 200, MemoryReservation: 150}, container.Resources{Memory: 100, MemorySwap: 200, MemoryReservation: 100}, platform.Size{MemoryBytes: 100}},
		"bandwidth only": {
			container.Resources{NanoCPUs: 1e9}, container.Resources{}, platform.Size{NetworkBytesPerSecond: 5}},
	} {
		var got container.Resources
		setSize(&got, c.old, c.size)
		if got.NanoCPUs != c.want.NanoCPUs || got.CPUQuota != c.want.CPUQuota || got.CPUPeriod != c.want.CPUPeriod || got.Memory != c.want.Memory ||
			got.MemorySwap != c.want.MemorySwap || got.MemoryReservation != c.want.MemoryReservation {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if s := sizeOf(container.Resources{CPUQuota: 25_000}); s.CPUCores != 0.25 {
		t.Errorf("a quota of a quarter is %v cores", s.CPUCores)
	}
}

func TestMemoryWithoutFilePages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stats container.MemoryStats
		want  uint64
	}{
		"control groups 1": {container.MemoryStats{Usage: 100, Stats: map[string]uint64{"total_inactive_file": 30, "inactive_file": 1}}, 70},
		"control groups 2": {container.MemoryStats{Usage: 100, Stats: map[string]uint64{"inactive_file": 30}}, 70},
		"neither":          {container.MemoryStats{Usage: 100}, 100},
		"more than all":    {container.MemoryStats{Usage: 100, Stats: map[string]uint64{"inactive_file": 300}}, 100},
	} {
		if got := resident(c.stats); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
