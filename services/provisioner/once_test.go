package provisioner

import (
	"testing"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// TestALateRetryOfAPauseDoesNotPauseAgain: the network delivers a retry when the pause was ended long ago.
func TestALateRetryOfAPauseDoesNotPauseAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	pause := &foreshadowv1.PauseProvisioningRequest{Workload: b.workload.Name, Reason: "sale", Actor: "ada", RequestId: "p1"}
	resume := &foreshadowv1.ResumeProvisioningRequest{Workload: b.workload.Name, Actor: "ada", RequestId: "r1"}
	for _, step := range []struct {
		what   string
		call   func() (*foreshadowv1.ProvisioningStatus, error)
		paused bool
	}{
		{"pause", func() (*foreshadowv1.ProvisioningStatus, error) {
			resp, err := b.client.PauseProvisioning(t.Context(), pause)
			return resp.GetStatus(), err
		}, true},
		{"its retry", func() (*foreshadowv1.ProvisioningStatus, error) {
			resp, err := b.client.PauseProvisioning(t.Context(), pause)
			return resp.GetStatus(), err
		}, true},
		{"resume", func() (*foreshadowv1.ProvisioningStatus, error) {
			resp, err := b.client.ResumeProvisioning(t.Context(), resume)
			return resp.GetStatus(), err
		}, false},
		{"the late retry of the pause", func() (*foreshadowv1.ProvisioningStatus, error) {
			resp, err := b.client.PauseProvisioning(t.Context(), pause)
			return resp.GetStatus(), err
		}, false},
	} {
		st, err := step.call()
		if err != nil || st.GetPaused() != step.paused {
			t.Errorf("after %s: paused %v, %v; want %v", step.what, st.GetPaused(), err, step.paused)
		}
	}
}
