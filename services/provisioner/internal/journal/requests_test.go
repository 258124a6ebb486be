package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/journal"
)

func pausing(id, reason string) *foreshadowv1.PauseProvisioningRequest {
	return &foreshadowv1.PauseProvisioningRequest{Workload: "shop", Reason: reason, RequestId: id}
}

func TestARequestIsCarriedOutOnceAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	done := 0
	do := func() error { done++; return nil }
	for range 3 {
		if err := j.Once(pausing("r1", "sale"), do); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, dir).Once(pausing("r1", "sale"), do); err != nil || done != 1 {
		t.Errorf("carried out %d times, %v", done, err)
	}
	for range 2 {
		if err := j.Once(pausing("", "sale"), do); err != nil {
			t.Fatal(err)
		}
	}
	if done != 3 {
		t.Errorf("without an identity: carried out %d times, want each time", done-1)
	}
	for _, wrong := range []*foreshadowv1.PauseProvisioningRequest{pausing("r1", "audit"), pausing(strings.Repeat("x", 129), "sale")} {
		var field *rpc.FieldError
		if err := j.Once(wrong, do); !errors.As(err, &field) || field.Field != "request_id" || done != 3 {
			t.Errorf("%v: %v, want request_id named", wrong, err)
		}
	}
}

func TestAFailedRequestMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	j, boom := open(t, t.TempDir()), errors.New("boom")
	if err := j.Once(pausing("r1", ""), func() error { return boom }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	done := false
	if err := j.Once(pausing("r1", ""), func() error { done = true; return nil }); err != nil || !done {
		t.Errorf("tried again: %v, %v", done, err)
	}
}

func TestARetryWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	var deeds atomic.Int32
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := j.Once(pausing("r1", ""), func() error { deeds.Add(1); <-release; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := deeds.Load(); n != 1 {
		t.Errorf("carried out %d times", n)
	}
}

func TestRequestsRememberedAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	requests := make([]journal.Request, 1000)
	for i := range requests {
		id := fmt.Sprint(i)
		requests[i] = journal.Request{ID: id, Content: rpc.Fingerprint(pausing(id, ""))}
	}
	data, err := json.Marshal(map[string]any{"requests": requests})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "provisioner.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	j, deeds := open(t, dir), 0
	for _, id := range []string{"0", "1000", "1", "1000", "0"} { // the second makes the oldest be forgotten
		if err := j.Once(pausing(id, ""), func() error { deeds++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if deeds != 2 {
		t.Errorf("%d deeds, want the new one and the forgotten one", deeds)
	}
}
