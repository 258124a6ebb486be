package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/libs/embedded"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator"
)

// runRole is one part. It prints its address when it is ready, and its ledgers, if it has any, when it ends.
func runRole(o partOptions) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch o.role {
	case "application":
		return application(ctx)
	case "page":
		return page(ctx, o.delay)
	case "behind":
		return behind(ctx, o)
	case "broker":
		return runBroker(ctx)
	}
	return runReplicator(ctx, o)
}

func application(ctx context.Context) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	page := []byte(strings.Repeat("x", 1024))
	fmt.Println(ln.Addr())
	return telemetry.ServeHTTP(ctx, ln, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		_, _ = w.Write(page)
	})}, time.Second)
}

func runBroker(ctx context.Context) error {
	cfg := embedded.DefaultBrokerConfig()
	cfg.Listen = "127.0.0.1:0"
	broker, err := embedded.StartBroker(ctx, cfg)
	if err != nil {
		return err
	}
	defer broker.Close()
	k := kafka.Default()
	k.Brokers = []string{broker.Addr()}
	if err := kafka.EnsureTopics(ctx, k, kafka.DefaultTopics()); err != nil {
		return err
	}
	fmt.Println(broker.Addr())
	<-ctx.Done()
	return nil
}

// shop is the workload.
func shop() workload.Workload {
	w := workload.Default()
	w.Name, w.Production.Group, w.Shadow.Group = "shop", "shop", "shop-shadow"
	w.SLO = workload.SLO{Quantile: 0.95, Latency: time.Second, ErrorRatio: 0.01}
	w.Tap.SampleKey, w.Tap.SessionCookie = "key", "sid"
	w.Tap.Methods = append(w.Tap.Methods, http.MethodPost)
	return w
}

// fixed is a platform of one instance.
type fixed string

// Watch implements replicator.Instances.
func (f fixed) Watch(ctx context.Context, _ string, fn func(platform.State, error)) {
	fn(platform.State{Instances: []platform.Instance{{ID: "1", Address: string(f), Phase: platform.Ready}}}, nil)
	<-ctx.Done()
}

// runReplicator is the proxy or, with a port, the passive capture, with the default configuration but for the sample.
func runReplicator(ctx context.Context, o partOptions) error {
	w := shop()
	w.Tap.SampleRatio = o.ratio
	cfg := replicator.DefaultConfig()
	// What the machine has is shared with the load: nothing may be shed because that needs it.
	cfg.CPUBudget = 1
	if o.port > 0 {
		cfg.Capture.Mode = replicator.ModePacket
		cfg.Capture.Packet.Interface, cfg.Capture.Packet.Ports = "lo", []int{o.port}
	}
	if o.mirror {
		cfg.Capture.Mode = replicator.ModeMirror
	}
	k := kafka.Default()
	k.Brokers = []string{o.broker}
	registry := telemetry.NewRegistry()
	admin := telemetry.NewAdmin(registry)
	s, err := replicator.New(cfg, replicator.Deps{
		Registry: registry, Admin: admin, Workloads: []workload.Workload{w}, Kafka: k, Instances: fixed(o.target),
	})
	if err != nil {
		return err
	}
	var ln net.Listener
	if o.port == 0 {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	if err := waitReady(admin, done); err != nil {
		return err
	}
	if ln != nil {
		fmt.Println(ln.Addr())
	} else {
		fmt.Println("lo")
	}
	err = <-done
	_ = json.NewEncoder(os.Stdout).Encode(admin.Ledgers())
	return err
}

func waitReady(admin *telemetry.Admin, done <-chan error) error {
	for range 1000 {
		if isReady(admin) {
			return nil
		}
		select {
		case err := <-done:
			return fmt.Errorf("replicator ended: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("replicator is not ready")
}

func isReady(admin *telemetry.Admin) bool {
	rec := &status{header: http.Header{}}
	r, _ := http.NewRequest(http.MethodGet, "/readyz", nil)
	admin.Handler().ServeHTTP(rec, r)
	return rec.code == 0 || rec.code == http.StatusOK
}

// status is a response of which only the status matters.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) Write(p []byte) (int, error) { return len(p), nil }
func (s *status) WriteHeader(code int)        { s.code = code }
