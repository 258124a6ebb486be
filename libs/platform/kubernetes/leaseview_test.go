package kubernetes

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
)

// reserve is a contender whose steps and clock are the test's.
type reserve struct {
	*Lease
	c     *kubernetestest.Cluster
	t     *testing.T
	clock time.Time
	views []LeaseView
	last  atomic.Pointer[LeaseView]
}

func newReserve(t *testing.T, c *kubernetestest.Cluster, name string) *reserve {
	t.Helper()
	r := &reserve{c: c, t: t, clock: time.Now()}
	cfg := LeaseConfig{Namespace: c.Namespace, Name: "provisioner", Identity: name, Address: name + ".example:7005", Duration: 8 * time.Second}
	r.Lease = NewLease(newRig(t, nil, c).client, cfg, slog.New(slog.DiscardHandler), func(v LeaseView) {
		r.views = append(r.views, v)
		r.last.Store(&v)
	})
	r.now = func() time.Time { return r.clock }
	return r
}

// step looks at the lease after some time; it returns whether it was taken, and what was said of it.
func (r *reserve) step(after time.Duration) (leads bool, said []LeaseView) {
	r.t.Helper()
	r.clock, r.views = r.clock.Add(after), nil
	lease, _ := r.try(r.t.Context())
	return lease != nil, r.views
}

// sees has a step say one thing, and not come to lead.
func (r *reserve) sees(after time.Duration, want LeaseView) {
	r.t.Helper()
	if leads, said := r.step(after); leads || len(said) != 1 || said[0] != want {
		r.t.Errorf("leads %v, saw %+v, want %+v", leads, said, want)
	}
}

// write changes the lease as another program does.
func (r *reserve) write(holder string, annotations map[string]any) {
	r.t.Helper()
	r.c.Patch("coordination.k8s.io/v1", "leases", "provisioner", map[string]any{
		"metadata": map[string]any{"annotations": annotations}, "spec": map[string]any{"holderIdentity": holder},
	})
}

func TestTheLeaseSaysWhereItsHolderServes(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	a, b := newReserve(t, c, "a"), newReserve(t, c, "b")
	lease, epoch := a.try(t.Context())
	if lease == nil {
		t.Fatal("a does not lead")
	}
	b.sees(0, LeaseView{Holder: "a", Address: "a.example:7005"})
	lease, err := a.renew(t.Context(), lease, epoch)
	if err != nil {
		t.Fatal(err)
	}
	b.sees(time.Second, LeaseView{Holder: "a", Address: "a.example:7005"})
	a.release(lease)
	// A release that says no address leaves that of the leader before, which is not its own.
	b.write("old", map[string]any{epochAnnotation: "9999999999999"})
	b.sees(time.Second, LeaseView{Holder: "old"})
	b.write("old", map[string]any{epochAnnotation: nil, addressAnnotation: nil})
	b.sees(time.Second, LeaseView{Holder: "old"})
	if leads, said := b.step(9 * time.Second); !leads || !slices.Equal(said, []LeaseView{{}}) {
		t.Errorf("leads %v, saw %+v", leads, said)
	}
	a.sees(time.Second, LeaseView{Holder: "b", Address: "b.example:7005"})
}

// TestWhoTakesTheLeaseForgetsFirstWhoLed is what keeps connections from going in a ring: when others can read that a process leads,
// it knows of nobody else who does.
func TestWhoTakesTheLeaseForgetsFirstWhoLed(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	a, b := newReserve(t, c, "a"), newReserve(t, c, "b")
	a.step(0)
	b.sees(0, LeaseView{Holder: "a", Address: "a.example:7005"})
	var forgot atomic.Bool
	c.Faults.Inject(func(r *http.Request) int {
		if r.Method == http.MethodPut {
			forgot.Store(*b.last.Load() == LeaseView{})
		}
		return 0
	})
	defer c.Faults.Inject(nil)
	leads, _ := b.step(9 * time.Second)
	if !forgot.Load() || !leads {
		t.Errorf("forgot %v, leads %v", forgot.Load(), leads)
	}
}

func TestTheLeaseIsNotKnownWhenItWasNotReadForItsDuration(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*http.Request) int{
		"not read":  func(*http.Request) int { return http.StatusForbidden },
		"not taken": func(r *http.Request) int { return map[string]int{http.MethodPut: http.StatusForbidden}[r.Method] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := kubernetestest.NewOnFake(t)
			a, b := newReserve(t, c, "a"), newReserve(t, c, "b")
			a.step(0)
			b.sees(0, LeaseView{Holder: "a", Address: "a.example:7005"})
			c.Faults.Inject(fault)
			if name == "not taken" {
				b.write("", map[string]any{}) // by the leader, that goes
			}
			said := func(after time.Duration) LeaseView {
				t.Helper()
				leads, said := b.step(after)
				if leads {
					t.Fatal("leads")
				}
				if len(said) == 0 {
					return LeaseView{Holder: "nothing said"}
				}
				return said[len(said)-1]
			}
			if v := said(7 * time.Second); v.Err != nil {
				t.Errorf("after 7 s: %+v", v)
			}
			if v := said(2 * time.Second); v.Err == nil || v.Holder != "" || v.Address != "" {
				t.Errorf("after 9 s: %+v", v)
			}
			c.Faults.Inject(nil)
			b.write("a", map[string]any{})
			b.sees(time.Second, LeaseView{Holder: "a", Address: "a.example:7005"})
		})
	}
}

// One that was never read is not known from the first.
func TestTheLeaseIsNotKnownBeforeItWasRead(t *testing.T) {
	t.Parallel()
	c := kubernetestest.NewOnFake(t)
	c.Faults.Inject(func(*http.Request) int { return http.StatusForbidden })
	if _, said := newReserve(t, c, "a").step(0); len(said) != 1 || said[0].Err == nil {
		t.Errorf("saw %+v", said)
	}
}

// A renewal whose answer is lost does not cost the leadership, and one by whom it was taken does.
func TestRenewalWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	a := newReserve(t, c, "a")
	lease, epoch := a.try(t.Context())
	if lease == nil {
		t.Fatal("a does not lead")
	}
	if _, err := a.renew(t.Context(), lease, epoch); err != nil { // which is not heard of
		t.Fatal(err)
	}
	a.clock = a.clock.Add(2 * time.Second)
	lease, err := a.renew(t.Context(), lease, epoch)
	if err != nil || a.left() != 6*time.Second {
		t.Fatalf("%v, %v left", err, a.left())
	}
	a.write("b", map[string]any{epochAnnotation: "9999999999999"})
	if _, err := a.renew(t.Context(), lease, epoch); !errors.Is(err, errLost) {
		t.Errorf("it was taken: %v", err)
	}
	a.write("a", map[string]any{epochAnnotation: "9999999999999"}) // by the process that was started anew under the name
	if _, err := a.renew(t.Context(), lease, epoch); !errors.Is(err, errLost) {
		t.Errorf("it was taken under our name: %v", err)
	}
}
