package provisioner

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes"
	"github.com/foreshadow/foreshadow/libs/platform/kubernetes/kubernetestest"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// clusterBench is a workload on Kubernetes, a real broker, and provisioners between them.
type clusterBench struct {
	*kubernetestest.Cluster
	*bench
	client  *kubernetes.Client
	windows *kafka.Publisher[*foreshadowv1.MetricsWindowed]
	keeping chan string // the names of those that have begun to keep trials
}

// keeper is a platform that notes who keeps its trials.
type keeper struct {
	*kubernetes.Client
	name    string
	keeping chan string
}

// KeepTrials implements TrialKeeper.
func (k keeper) KeepTrials(ctx context.Context) error {
	k.keeping <- k.name
	<-ctx.Done()
	return nil
}

// newClusterBench has a Deployment of three pods as production. The workload is named after the namespace: the tests share the
// broker's topics.
func newClusterBench(t *testing.T, c *kubernetestest.Cluster, adjust func(*workload.Workload)) *clusterBench {
	t.Helper()
	w := declared(c.Namespace)
	if c.Fake != nil {
		w.Name = strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	}
	w.SLO = workload.SLO{Quantile: 0.95, Latency: time.Second}
	w.Production = workload.Target{Platform: kubernetes.Platform, Group: "production", Kubernetes: c.Workload("Deployment", "web", 3)}
	w.Shadow = workload.Target{Platform: kubernetes.Platform, Group: "shadow", Kubernetes: c.Workload("Deployment", "web-shadow", 0)}
	w.Guardrails.ManualHold = time.Hour
	if adjust != nil {
		adjust(&w)
	}
	b := &clusterBench{Cluster: c, keeping: make(chan string, 100), bench: &bench{t: t, workload: w, actions: make(chan *foreshadowv1.ScalingApplied, 100)}}
	b.client = b.newClient()
	b.kafka = kafka.Default()
	b.kafka.Brokers = []string{embeddedtest.Broker(t)}
	if err := kafka.EnsureTopics(t.Context(), b.kafka, kafka.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	b.publisher = publish[*foreshadowv1.Recommendation](b.bench, kafka.TopicScalingRecommended)
	b.windows = publish[*foreshadowv1.MetricsWindowed](b.bench, kafka.TopicMetricsWindowed)
	caughtUp := make(chan struct{})
	b.background(func(ctx context.Context) error { return b.follow(ctx, caughtUp) })
	<-caughtUp
	return b
}

func publish[M proto.Message](b *bench, topic string) *kafka.Publisher[M] {
	b.t.Helper()
	cfg := kafka.DefaultPublisherConfig()
	cfg.Kafka, cfg.Topic, cfg.Source = b.kafka, topic, "/test"
	p, err := kafka.NewPublisher[M](cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.background(p.Run)
	return p
}

func (b *clusterBench) newClient() *kubernetes.Client {
	b.t.Helper()
	groups, err := kubernetes.Groups([]workload.Workload{b.workload})
	if err != nil {
		b.t.Fatal(err)
	}
	client, err := kubernetes.NewFor(b.Config(), kubernetes.DefaultConfig(), groups)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	return client
}

// provisioner runs one that contends for the lease, and returns how to stop it and a channel that is closed when it leads.
func (b *clusterBench) provisioner(name string) (stop func(), leads chan struct{}) {
	b.t.Helper()
	c := b.contender(name, nil)
	return c.stop, c.leads
}

// contender is a provisioner that contends for the lease.
type contender struct {
	stop    func()
	leads   chan struct{} // closed when it leads first
	address string        // it serves at
	admin   *telemetry.Admin
}

// contender runs one, whose parts may be adjusted before.
func (b *clusterBench) contender(name string, adjust func(*Config, *Deps)) contender {
	b.t.Helper()
	registry := telemetry.NewRegistry()
	cfg := DefaultConfig()
	cfg.Listen, cfg.StateDir = "127.0.0.1:0", b.t.TempDir()
	cfg.Lease = LeaseConfig{Name: "provisioner", Namespace: b.Namespace, Identity: name, Duration: 4 * time.Second}
	log := slog.New(slog.DiscardHandler)
	client := b.newClient()
	election, err := NewElection(cfg.Lease, client, log)
	if err != nil {
		b.t.Fatal(err)
	}
	deps := Deps{
		Workloads: []workload.Workload{b.workload}, Kafka: b.kafka, Platform: keeper{client, name, b.keeping}, Log: log, Registry: registry,
		Admin: telemetry.NewAdmin(registry), Election: election,
	}
	if adjust != nil {
		adjust(&cfg, &deps)
	}
	s, err := New(cfg, deps)
	if err != nil {
		b.t.Fatal(err)
	}
	c := contender{leads: make(chan struct{}), admin: deps.Admin}
	s.following = sync.OnceFunc(func() { close(c.leads) })
	listens := make(chan string, 1)
	s.listening = func(address string) { listens <- address }
	c.stop = b.background(s.Run)
	c.address = <-listens
	return c
}

func (b *clusterBench) lead() {
	b.t.Helper()
	_, leads := b.provisioner("a")
	b.wait4(leads)
}

func (b *clusterBench) wait4(c <-chan struct{}) {
	b.t.Helper()
	select {
	case <-c:
	case <-time.After(hangTimeout):
		b.t.Fatal("nobody leads")
	}
}

func (b *clusterBench) production() platform.State {
	b.t.Helper()
	s, err := b.client.State(b.t.Context(), "production")
	if err != nil {
		return platform.State{}
	}
	return s
}

// fare publishes windows of the last seconds, and goes on with one a second, until the test ends or stop is called: 100
// answers each, of which so many broke the SLO.
func (b *clusterBench) fare(violations func() uint64) {
	b.background(func(ctx context.Context) error {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			now := time.Now()
			b.windows.Publish(b.workload.Name, &foreshadowv1.MetricsWindowed{
				Workload: b.workload.Name, Environment: production, StartTime: timestamppb.New(now.Add(-100 * time.Millisecond)),
				DurationSeconds: 0.1, Revision: 1,
				Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{
					Strata: []*foreshadowv1.Traffic{{Requests: 100, Responses: 100, SloViolations: violations()}},
				}},
			})
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// TestOnKubernetes runs on the stand-in, and on a real control plane where there is one.
func TestOnKubernetes(t *testing.T) {
	t.Parallel()
	cluster := func(t *testing.T) *kubernetestest.Cluster { return kubernetestest.NewOnFake(t) }
	if kubernetestest.Real() {
		plane := kubernetestest.Start(t)
		cluster = func(t *testing.T) *kubernetestest.Cluster { return kubernetestest.NewOnPlane(t, plane) }
	}
	for name, test := range map[string]func(*testing.T, *kubernetestest.Cluster){
		"scales": scalesOnKubernetes, "rolls-back": rollsBackOnKubernetes, "felt-before": knowsHowUsersFaredBefore, "budget": keepsTheBudget, "hpa": refusesBesideHPA,
		"quota": staysWithinQuota, "takes-over": takesOver, "resizes": resizesOnKubernetes, "manual": leavesPeopleAlone,
		"copies": wakesACopy, "reaches-the-leader": reachesTheLeader,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, cluster(t))
		})
	}
}

func scalesOnKubernetes(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, nil)
	b.lead()
	r := b.recommend(5, 1)
	up := b.action(production, applied)
	if s := b.production(); s.Ready() != 5 || s.Generation != r.GetGeneration() || up.GetFrom().GetInstances() != 3 {
		t.Errorf("state %+v after %v", s, up)
	}
	b.recommend(2, 0)
	b.action(production, applied)
	if s := b.production(); len(s.Instances) != 2 {
		t.Errorf("called applied with %d pods", len(s.Instances))
	}
}

func resizesOnKubernetes(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, func(w *workload.Workload) { w.Guardrails.Resize = true })
	b.lead()
	b.recommend(3, 0, func(r *foreshadowv1.Recommendation) { r.Production.CpuCores = 0.15 })
	a := b.action(production, applied)
	s := b.production()
	for _, i := range s.Instances {
		if i.Size.CPUCores != 0.15 {
			t.Errorf("instance %+v after %v", i, a)
		}
	}
	if s.Size.CPUCores != 0.15 || a.GetFrom().GetCpuCores() != 0.1 {
		t.Errorf("new pods have %+v, recorded %v", s.Size, a)
	}
}

func rollsBackOnKubernetes(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, func(w *workload.Workload) {
		w.Guardrails.Rollback = workload.Rollback{Within: time.Minute, MinRequests: 200, Hold: time.Minute}
	})
	// Users fare ill as soon as there are fewer than three.
	b.fare(func() uint64 {
		if s := b.production(); s.Desired > 0 && s.Desired < 3 {
			return 40
		}
		return 1
	})
	b.lead()
	b.recommend(1, 0)
	b.action(production, applied)
	a := b.action(production, foreshadowv1.Outcome_OUTCOME_ROLLED_BACK)
	if s := b.production(); s.Desired != 3 || s.Ready() != 3 || !strings.Contains(a.GetReason(), "broke the SLO since the change") {
		t.Errorf("state %+v, recorded %v", s, a)
	}
}

// What users felt while nobody led counts too.
func knowsHowUsersFaredBefore(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, func(w *workload.Workload) {
		w.Guardrails.Rollback = workload.Rollback{Within: time.Minute, MinRequests: 200, Hold: time.Minute}
	})
	stop, leads := b.provisioner("a")
	b.wait4(leads)
	b.recommend(1, 0)
	since := b.action(production, applied).GetCompleteTime().AsTime()
	stop()
	const windows = 5
	for n := range windows {
		b.windows.Publish(b.workload.Name, &foreshadowv1.MetricsWindowed{
			Workload: b.workload.Name, Environment: production, StartTime: timestamppb.New(since.Add(time.Duration(n+1) * 10 * time.Millisecond)),
			DurationSeconds: 0.01, Revision: 1,
			Content: &foreshadowv1.MetricsWindowed_Traffic{Traffic: &foreshadowv1.TrafficWindow{
				Strata: []*foreshadowv1.Traffic{{Requests: 100, Responses: 100, SloViolations: 40}},
			}},
		})
	}
	ctx, written := context.WithTimeout(t.Context(), hangTimeout)
	defer written()
	seen := 0
	if err := kafka.Tail(ctx, kafka.TailConfig{Kafka: b.kafka, Topic: kafka.TopicMetricsWindowed}, func(r kafka.Record) error {
		if r.Key == b.workload.Name {
			if seen++; seen == windows {
				written()
			}
		}
		return nil
	}); err != nil || seen != windows {
		t.Fatalf("%d windows were written, %v", seen, err)
	}
	_, leads = b.provisioner("b")
	b.wait4(leads)
	b.action(production, foreshadowv1.Outcome_OUTCOME_ROLLED_BACK)
}

func keepsTheBudget(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, nil)
	c.Create("policy/v1", "poddisruptionbudgets", map[string]any{
		"kind": "PodDisruptionBudget", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"minAvailable": 2, "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}}},
	})
	allow := func(n int) {
		if c.Fake != nil {
			status := map[string]any{"disruptionsAllowed": n, "observedGeneration": 1}
			c.Patch("policy/v1", "poddisruptionbudgets", "web", map[string]any{"status": status})
		}
	}
	allow(1)
	c.Until("the budget to be known", func() bool {
		s, err := b.client.Surroundings(t.Context(), "production")
		return err == nil && s.Removable.N == 1
	})
	b.lead()
	b.recommend(1, 0)
	a := b.action(production, applied)
	if s := b.production(); s.Desired != 2 || a.GetTo().GetInstances() != 2 || a.GetGuardrails()[0] != "disruption_budget" {
		t.Errorf("state %+v, recorded %v", s, a)
	}
	allow(0)
	c.Until("the budget to be used up", func() bool {
		s, err := b.client.Surroundings(t.Context(), "production")
		return err == nil && s.Removable.Set && s.Removable.N == 0
	})
	b.recommend(1, 0)
	if a := b.action(production, refused); !strings.Contains(a.GetReason(), `PodDisruptionBudget "web" lets 0 go`) {
		t.Errorf("recorded %v", a)
	}
}

func refusesBesideHPA(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, nil)
	c.Create("autoscaling/v2", "horizontalpodautoscalers", map[string]any{
		"kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 10},
	})
	b.lead()
	b.recommend(5, 0)
	a := b.action(production, refused)
	if s := b.production(); s.Desired != 3 || !strings.Contains(a.GetReason(), `HorizontalPodAutoscaler "web"`) || !strings.Contains(a.GetReason(), "other_controllers: serve") {
		t.Errorf("state %+v, recorded %v", s, a)
	}
	c.Delete("autoscaling/v2", "horizontalpodautoscalers", "web")
	b.recommend(5, 0)
	b.action(production, applied)
}

func staysWithinQuota(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, nil)
	o := c.Create("v1", "resourcequotas", map[string]any{
		"kind": "ResourceQuota", "metadata": map[string]any{"name": "team"}, "spec": map[string]any{"hard": map[string]any{"pods": "4"}},
	})
	if c.Fake != nil {
		o["status"] = map[string]any{"hard": map[string]any{"pods": "4"}, "used": map[string]any{"pods": "3"}}
		c.Patch("v1", "resourcequotas", "team", o)
	}
	c.Until("the quota to be known", func() bool {
		s, err := b.client.Surroundings(t.Context(), "production")
		return err == nil && s.Addable.N == 1
	})
	b.lead()
	b.recommend(6, 0)
	a := b.action(production, applied)
	if s := b.production(); s.Desired != 4 || !strings.Contains(a.GetReason(), `quota "team"`) {
		t.Errorf("state %+v, recorded %v", s, a)
	}
}

func leavesPeopleAlone(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, nil)
	b.lead()
	b.recommend(4, 0)
	b.action(production, applied)
	c.Patch("apps/v1", "deployments", "web", map[string]any{"spec": map[string]any{"replicas": 2}}, "scale")
	b.recommend(5, 0)
	if a := b.action(production, refused); a.GetGuardrails()[0] != "manual_change" {
		t.Errorf("recorded %v", a)
	}
	if s := b.production(); s.Desired != 2 {
		t.Errorf("desired %d", s.Desired)
	}
}

func wakesACopy(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, func(w *workload.Workload) {
		w.Shadow.Kubernetes = workload.Kubernetes{Namespace: c.Namespace, Name: "copy", Port: 8080, Copy: workload.Copy{Enabled: true}}
	})
	b.lead()
	b.recommend(3, 1)
	b.action(shadow, applied)
	b.recommend(3, 0)
	b.action(shadow, applied)
}

func takesOver(t *testing.T, c *kubernetestest.Cluster) {
	b := newClusterBench(t, c, nil)
	stop, leads := b.provisioner("a")
	b.wait4(leads)
	b.recommend(4, 0)
	b.action(production, applied)
	// What the first has written down, the second knows: its generation above all.
	_, next := b.provisioner("b")
	begin := time.Now()
	stop()
	b.wait4(next)
	t.Logf("took over %s after a clean stop", time.Since(begin).Round(time.Millisecond))
	stale := b.recommend(6, 0, func(r *foreshadowv1.Recommendation) { r.Generation = 1 })
	if a := b.action(production, refused); a.GetGeneration() != stale.GetGeneration() || a.GetGuardrails()[0] != "generation" {
		t.Errorf("recorded %v", a)
	}
	b.recommend(2, 0)
	b.action(production, applied)
}

// TestAPIServerAway kills the API server for a while, half a minute when there is time. It is asked at most once a second by a
// provisioner that has something to do, and the recommendation is carried out within 10 s after it is back.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	plane := kubernetestest.Start(t)
	c := kubernetestest.NewOnPlane(t, plane)
	b := newClusterBench(t, c, nil)
	b.lead()
	b.recommend(4, 0)
	b.action(production, applied)
	plane.Kill(kubernetestest.APIServer)
	away := 10 * time.Second
	if os.Getenv("FORESHADOW_AWAY") != "" {
		away, _ = time.ParseDuration(os.Getenv("FORESHADOW_AWAY"))
	}
	b.client.Close()
	c.Faults.Requests()
	begin := time.Now()
	for time.Since(begin) < away { // the predictor goes on
		b.recommend(6, 0)
		time.Sleep(500 * time.Millisecond)
	}
	asked := c.Faults.Requests()
	if rate := float64(len(asked)) / away.Seconds(); rate > 1.2 { // one more each second is the lease's turn at most at the edges
		t.Errorf("%d requests within %s", len(asked), away)
	}
	if err := plane.Start(kubernetestest.APIServer); err != nil {
		t.Fatal(err)
	}
	if err := plane.Await(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	b.recommend(6, 0, func(r *foreshadowv1.Recommendation) { r.ExpireTime = timestamppb.New(time.Now().Add(time.Minute)) })
	c.Until("the recommendation to be carried out", func() bool { return b.production().Desired == 6 })
	took := time.Since(back)
	t.Logf("away for %s: %d requests; converged %s after it was ready again", away, len(asked), took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("converged after %s", took)
	}
}

// Trials that nobody renews are removed by the leader, and by its successor.
func TestTheLeaderKeepsTrials(t *testing.T) {
	t.Parallel()
	b := newClusterBench(t, kubernetestest.NewOnFake(t), nil)
	stop, leads := b.provisioner("a")
	b.wait4(leads)
	_, next := b.provisioner("b")
	if got := <-b.keeping; got != "a" {
		t.Errorf("%s keeps them, and a leads", got)
	}
	stop()
	b.wait4(next)
	if got := <-b.keeping; got != "b" {
		t.Errorf("%s keeps them, and b leads", got)
	}
}
