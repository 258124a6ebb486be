// Package upstream holds the connections to the services the console reads, and knows which of them is away since when.
package upstream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Names of the backends, as the page shows them.
const (
	History      = "metrics-aggregator"
	Predictor    = "predictor"
	Provisioner  = "provisioner"
	ShadowRunner = "shadow-runner"
)

// retryInterval bounds the wait between two tries to connect; gRPC's own backoff grows to two minutes.
const retryInterval = time.Second

// Addresses of the gRPC servers, host:port.
type Addresses struct {
	History, Predictor, Provisioner, ShadowRunner string
}

// Clients are the gRPC clients of all backends.
type Clients struct {
	History         foreshadowv1.HistoryServiceClient
	Recommendations foreshadowv1.RecommendationServiceClient
	Forecasts       foreshadowv1.ForecastServiceClient
	Provisioning    foreshadowv1.ProvisioningServiceClient
	Experiments     foreshadowv1.ExperimentServiceClient
}

// State says whether a backend can be reached.
type State struct {
	// Name of the backend.
	Name string `json:"name"`
	// Address it is looked for at.
	Address string `json:"address"`
	// Reachable is false while there is no connection.
	Reachable bool `json:"reachable"`
	// Since is when Reachable last changed.
	Since time.Time `json:"since"`
}

// Set is the connections to all backends.
type Set struct {
	Clients Clients

	log   *slog.Logger
	up    *prometheus.GaugeVec
	conns []*grpc.ClientConn

	mu     sync.Mutex
	states []State
}

// Open makes the connections without connecting yet; Close must follow.
func Open(edge *rpc.Edge, a Addresses, log *slog.Logger, up *prometheus.GaugeVec) (*Set, error) {
	s := &Set{log: log, up: up}
	for _, b := range []struct{ name, address string }{
		{History, a.History}, {Predictor, a.Predictor}, {Provisioner, a.Provisioner}, {ShadowRunner, a.ShadowRunner},
	} {
		conn, err := edge.Dial(b.address)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.conns = append(s.conns, conn)
		s.states = append(s.states, State{Name: b.name, Address: b.address, Since: time.Now()})
	}
	s.Clients = Clients{
		History:         foreshadowv1.NewHistoryServiceClient(s.conns[0]),
		Recommendations: foreshadowv1.NewRecommendationServiceClient(s.conns[1]),
		Forecasts:       foreshadowv1.NewForecastServiceClient(s.conns[1]),
		Provisioning:    foreshadowv1.NewProvisioningServiceClient(s.conns[2]),
		Experiments:     foreshadowv1.NewExperimentServiceClient(s.conns[3]),
	}
	return s, nil
}

// Close ends all connections.
func (s *Set) Close() error {
	var errs []error
	for _, c := range s.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// States returns the state of every backend, in a fixed order.
func (s *Set) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]State(nil), s.states...)
}

// Run keeps connecting and calls changed after every change of a state, until ctx ends.
func (s *Set) Run(ctx context.Context, changed func()) {
	var wg sync.WaitGroup
	for i, conn := range s.conns {
		wg.Go(func() { s.watch(ctx, i, conn, changed) })
	}
	wg.Wait()
}

func (s *Set) watch(ctx context.Context, i int, conn *grpc.ClientConn, changed func()) {
	s.up.WithLabelValues(s.states[i].Name).Set(0)
	retry := time.NewTicker(retryInterval)
	defer retry.Stop()
	first := true
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Idle:
			conn.Connect()
		case connectivity.Ready, connectivity.TransientFailure:
			if s.note(i, state == connectivity.Ready, first) {
				changed()
			}
			first = false
		}
		if state != connectivity.TransientFailure {
			if !conn.WaitForStateChange(ctx, state) {
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
			conn.ResetConnectBackoff()
		}
	}
}

// note records what was seen; it reports whether that is news.
func (s *Set) note(i int, reachable, first bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.states[i]
	if st.Reachable == reachable && !first {
		return false
	}
	st.Reachable, st.Since = reachable, time.Now()
	if reachable {
		s.up.WithLabelValues(st.Name).Set(1)
		s.log.Info("backend connected", "backend", st.Name, "address", st.Address)
	} else {
		s.up.WithLabelValues(st.Name).Set(0)
		s.log.Warn("backend away", "backend", st.Name, "address", st.Address)
	}
	return true
}
