package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
)

// contender is one that contends for the lease of a test.
type contender struct {
	lease *Lease
	stop  func()

	mu     sync.Mutex
	epochs []uint64
	leads  bool
}

func (c *contender) leading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leads
}

func (c *contender) epoch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.epochs) == 0 {
		return 0
	}
	return c.epochs[len(c.epochs)-1]
}

func contend(t *testing.T, c *kubernetestest.Cluster, name string, duration time.Duration) *contender {
	t.Helper()
	linger := make(chan struct{})
	close(linger)
	return contendLingering(t, c, name, duration, linger)
}

// contendLingering is contend of one that ends what it has under way when linger is closed.
func contendLingering(t *testing.T, c *kubernetestest.Cluster, name string, duration time.Duration, linger <-chan struct{}) *contender {
	t.Helper()
	r := newRig(t, nil, c)
	out := &contender{}
	out.lease = NewLease(r.client, LeaseConfig{Namespace: c.Namespace, Name: "provisioner", Identity: name, Duration: duration},
		slog.New(slog.DiscardHandler), func(LeaseView) {})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- out.lease.Run(ctx, func(ctx context.Context, l Leadership) error {
			out.mu.Lock()
			out.epochs, out.leads = append(out.epochs, l.Epoch), true
			out.mu.Unlock()
			<-ctx.Done()
			<-linger
			out.mu.Lock()
			out.leads = false
			out.mu.Unlock()
			return nil
		})
	}()
	var once sync.Once
	out.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(out.stop)
	return out
}

func TestOneLeadsAndTheNextTakesOver(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	a := contend(t, c, "a", 2*time.Second)
	c.Until("a to lead", a.leading)
	b := contend(t, c, "b", 2*time.Second)
	pause(t.Context(), 3*time.Second) // longer than the lease: a renews it
	if b.leading() || !a.leading() {
		t.Fatal("b leads beside a")
	}
	begin := time.Now()
	a.stop()
	c.Until("b to lead", b.leading)
	if b.epoch() <= a.epoch() {
		t.Errorf("epoch %d after %d", b.epoch(), a.epoch())
	}
	t.Logf("took over %s after a clean stop", time.Since(begin).Round(time.Millisecond))
}

// One that stops holds the lease until it has: what it has under way takes as long as it takes.
func TestALeaderThatStopsIsReplacedWhenItHasStopped(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	linger := make(chan struct{})
	a := contendLingering(t, c, "a", 2*time.Second, linger)
	c.Until("a to lead", a.leading)
	b := contend(t, c, "b", 2*time.Second)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.stop()
	}()
	pause(t.Context(), 5*time.Second) // more than twice what b waits for one that was not heard of
	if b.leading() {
		t.Error("b leads while a is not done")
	}
	close(linger)
	<-stopped
	c.Until("b to lead", b.leading)
}

func TestLeaseThatWasDeletedBeginsAboveWhatWasSeen(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	a := contend(t, c, "a", 2*time.Second)
	c.Until("a to lead", a.leading)
	first := a.epoch()
	c.Delete("coordination.k8s.io/v1", "leases", "provisioner")
	c.Until("a to lead anew", func() bool { return a.leading() && a.epoch() > first })
}

func TestDocumentIsWrittenByWhoReadItLast(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	r := newRig(t, nil, c)
	first, second := NewDocument(r.client, c.Namespace, "journal"), NewDocument(r.client, c.Namespace, "journal")
	if data, err := first.Load(); data != nil || err != nil {
		t.Fatalf("an empty document has %q, %v", data, err)
	}
	for n := range 3 {
		if err := first.Save(fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.Save([]byte("blind")); !errors.Is(err, ErrOutdated) {
		t.Errorf("written without having been read: %v", err)
	}
	if data, err := second.Load(); string(data) != "2" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if err := first.Save([]byte("between reading and writing")); !errors.Is(err, ErrOutdated) {
		t.Errorf("the one that led before writes what the next one does not know: %v", err)
	}
	if err := second.Save([]byte("new leader")); err != nil {
		t.Fatal(err)
	}
	if err := first.Save([]byte("old leader")); !errors.Is(err, ErrOutdated) {
		t.Errorf("the one that led before still writes: %v", err)
	}
	if err := first.Save([]byte("again")); !errors.Is(err, ErrOutdated) {
		t.Errorf("and again: %v", err)
	}
}

// A ConfigMap that somebody has made without the document is one that has none yet, and stays that when it is taken over.
func TestDocumentThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	r := newRig(t, nil, c)
	c.Create("v1", "configmaps", map[string]any{"kind": "ConfigMap", "metadata": map[string]any{"name": "journal"}})
	for range 2 {
		d := NewDocument(r.client, c.Namespace, "journal")
		if data, err := d.Load(); data != nil || err != nil {
			t.Fatalf("has %q, %v", data, err)
		}
	}
}

// TestDocumentOfManyWorkloads: larger than a ConfigMap, and small again.
func TestDocumentOfManyWorkloads(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	r := newRig(t, nil, c)
	d := NewDocument(r.client, c.Namespace, "journal")
	for _, want := range []string{strings.Repeat(`{"instance": "checkout-7d9c6b8f5d-x4k2p"}`, 60_000), "small"} {
		if err := d.Save([]byte(want)); err != nil {
			t.Fatal(err)
		}
		o, err := r.client.dynamic.Resource(configMapResource).Namespace(c.Namespace).Get(t.Context(), "journal", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := o.MarshalJSON(); len(raw) > 1<<20 || err != nil {
			t.Errorf("a ConfigMap of %d bytes, %v", len(raw), err)
		}
		d = NewDocument(r.client, c.Namespace, "journal")
		if got, err := d.Load(); string(got) != want || err != nil {
			t.Fatalf("%d bytes were read, want %d; %v", len(got), len(want), err)
		}
		d.unsure = []byte(want) // its answer was cut off
	}
}

func TestDocumentWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	r := newRig(t, nil, c)
	d := NewDocument(r.client, c.Namespace, "journal")
	for n, lose := range []bool{false, true, true} {
		if lose { // the write is made, and its answer cut off
			data := fmt.Sprint("lost ", n)
			c.Patch("v1", "configmaps", "journal", map[string]any{"data": map[string]any{documentKey: data}})
			d.unsure = []byte(data)
		}
		if err := d.Save(fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	d.unsure = []byte("2") // it is there, and the answer was cut off
	next := NewDocument(r.client, c.Namespace, "journal")
	if _, err := next.Load(); err != nil { // which has taken it over as it is
		t.Fatal(err)
	}
	if err := d.Save([]byte("late")); !errors.Is(err, ErrOutdated) {
		t.Errorf("it was taken over: %v", err)
	}
	d = next
	d.unsure = []byte("cut before it arrived")
	if err := d.Save([]byte("next")); err != nil {
		t.Fatal(err)
	}
	c.Patch("v1", "configmaps", "journal", map[string]any{"data": map[string]any{documentKey: "by another"}})
	d.unsure = []byte("mine")
	if err := d.Save([]byte("next")); !errors.Is(err, ErrOutdated) {
		t.Errorf("over another's: %v", err)
	}
}
