package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// needs fails the test where the browser is required (FORESHADOW_REQUIRE_BROWSER=1, set by CI) and otherwise skips it,
// saying what is missing.
func needs(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("FORESHADOW_REQUIRE_BROWSER") != "" {
		t.Fatalf("the page cannot be tested in a browser: missing %s", what)
	}
	t.Skipf("SKIPPED, the page was NOT tested in a browser: missing %s", what)
}

func lookPath(t *testing.T, what string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	needs(t, what)
	return ""
}

func TestPageInBrowser(t *testing.T) {
	node := lookPath(t, "node on PATH (Node 20 or later)", "node")
	chromium := lookPath(t, "Chromium: install the package chromium, or name the program in FORESHADOW_CHROMIUM",
		os.Getenv("FORESHADOW_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
	if _, err := os.Stat("web/node_modules/playwright-core"); err != nil {
		needs(t, "web/node_modules/playwright-core: run npm ci in services/console/web")
	}
	if _, err := os.Stat("web/dist/index.html"); err != nil {
		needs(t, "web/dist/index.html: run make console")
	}
	shots := os.Getenv("FORESHADOW_SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	absolute, err := filepath.Abs(shots)
	if err != nil {
		t.Fatal(err)
	}
	h := startHouse(t)
	tell(h.script, time.Now().Truncate(time.Second))
	play := h.keepTalking(t)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "page.mjs", h.url, absolute, chromium)
	cmd.Dir = "web/e2e"
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var order struct{ Do string }
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			t.Errorf("page.mjs said %q", lines.Text())
			continue
		}
		h.carryOut(t, order.Do, play)
		if _, err := io.WriteString(in, "done\n"); err != nil {
			t.Errorf("answer page.mjs: %v", err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the page failed in the browser: %v", err)
	}
}

// keepTalking goes on telling the story, one second each second, with a demand the test can recognise; the channel
// returned changes whether the shadow sleeps.
func (h *house) keepTalking(t *testing.T) chan<- bool {
	asleep := make(chan bool)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		shadows := int32(1)
		for {
			select {
			case <-ctx.Done():
				return
			case sleeps := <-asleep:
				if shadows = 1; sleeps {
					shadows = 0
				}
			case <-tick.C:
			}
			at := time.Now().Truncate(time.Second).Add(-time.Second)
			h.edit(func(s *script) {
				s.windows = append(s.windows, trafficWindow(production, at, 2, 137, 0.02), usageWindow(production, at, 2, 5, 6),
					usageWindow(shadow, at, 2, shadows, shadows))
				if shadows > 0 {
					s.windows = append(s.windows, trafficWindow(shadow, at, 2, 60, 0.023))
				}
				s.forecast = forecastFrom(at)
			})
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return asleep
}

func (h *house) carryOut(t *testing.T, order string, asleep chan<- bool) {
	t.Helper()
	switch order {
	case "decide":
		h.edit(func(s *script) {
			s.recs = append(s.recs, recommendation(time.Now(), 9, 5, "forecast_above_committed", "A sale begins in 8 s; that takes 9 instances"))
			s.actions = append([]*foreshadowv1.ScalingApplied{action("a3", time.Now(), 6, 9, foreshadowv1.Outcome_OUTCOME_APPLIED, "a sale begins")}, s.actions...)
		})
	case "propose":
		h.propose("shop-77", 9, 12, "the sale goes on")
	case "history away":
		h.history.stop()
	case "history back":
		h.history.start()
	case "sleep and abstain":
		asleep <- true
		h.edit(func(s *script) { s.abstains = "less than two seasons of history" })
	default:
		t.Errorf("page.mjs asked for %q", order)
	}
}
