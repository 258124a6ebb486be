// Package history serves HistoryService: windows, capacity measurements, recommendations and scaling actions as the
// database holds them, in pages that are bounded in items and bytes, and windows as a stream. Stretches without data are
// absent, never zero.
package history

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/database"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/notify"
)

const (
	usualDecisions = 100
	mostDecisions  = 1000
)

// Config is what a server needs.
type Config struct {
	Pool *pgxpool.Pool
	Bell *notify.Bell
	// Workloads are the names that can be asked for.
	Workloads []string
	// Width of the traffic windows.
	Width time.Duration
	Now   func() time.Time
	// Done is closed when the server stops: streams have no end of their own and would hold it up.
	Done <-chan struct{}
}

// Server implements foreshadowv1.HistoryServiceServer.
type Server struct {
	foreshadowv1.UnimplementedHistoryServiceServer

	pool      *pgxpool.Pool
	bell      *notify.Bell
	workloads map[string]bool
	width     time.Duration
	now       func() time.Time
	done      <-chan struct{}
}

// New returns a server; it does no I/O.
func New(cfg Config) *Server {
	s := &Server{pool: cfg.Pool, bell: cfg.Bell, workloads: map[string]bool{}, width: cfg.Width, now: cfg.Now, done: cfg.Done}
	for _, name := range cfg.Workloads {
		s.workloads[name] = true
	}
	return s
}

func (s *Server) checkWorkload(name string) error {
	if name == "" {
		return &rpc.FieldError{Field: "workload", Problem: "is required"}
	}
	if !s.workloads[name] {
		return fmt.Errorf("workload %q: %w", name, rpc.ErrNotFound)
	}
	return nil
}

func checkEnvironment(field string, e foreshadowv1.Environment) error {
	switch e {
	case foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, foreshadowv1.Environment_ENVIRONMENT_SHADOW:
		return nil
	case foreshadowv1.Environment_ENVIRONMENT_UNSPECIFIED:
		return &rpc.FieldError{Field: field, Problem: "is required"}
	default:
		return &rpc.FieldError{Field: field, Problem: "is neither production nor shadow"}
	}
}

// QueryCapacityMeasurements implements foreshadowv1.HistoryServiceServer.
func (s *Server) QueryCapacityMeasurements(ctx context.Context, req *foreshadowv1.QueryCapacityMeasurementsRequest) (*foreshadowv1.QueryCapacityMeasurementsResponse, error) {
	list, next, err := decisions(ctx, s, "capacity_measurement", req, func() *foreshadowv1.CapacityMeasured { return &foreshadowv1.CapacityMeasured{} })
	if err != nil {
		return nil, err
	}
	return &foreshadowv1.QueryCapacityMeasurementsResponse{Measurements: list, NextPageToken: next}, nil
}

// QueryRecommendations implements foreshadowv1.HistoryServiceServer.
func (s *Server) QueryRecommendations(ctx context.Context, req *foreshadowv1.QueryRecommendationsRequest) (*foreshadowv1.QueryRecommendationsResponse, error) {
	list, next, err := decisions(ctx, s, "recommendation", req, func() *foreshadowv1.Recommendation { return &foreshadowv1.Recommendation{} })
	if err != nil {
		return nil, err
	}
	return &foreshadowv1.QueryRecommendationsResponse{Recommendations: list, NextPageToken: next}, nil
}

// QueryScalingActions implements foreshadowv1.HistoryServiceServer. Each event is one entry: an action that waited for
// approval is there once as waiting and once as it ended.
func (s *Server) QueryScalingActions(ctx context.Context, req *foreshadowv1.QueryScalingActionsRequest) (*foreshadowv1.QueryScalingActionsResponse, error) {
	list, next, err := decisions(ctx, s, "scaling_action", req, func() *foreshadowv1.ScalingApplied { return &foreshadowv1.ScalingApplied{} })
	if err != nil {
		return nil, err
	}
	return &foreshadowv1.QueryScalingActionsResponse{Actions: list, NextPageToken: next}, nil
}

// decisionQuery is what the three requests have in common.
type decisionQuery interface {
	proto.Message
	GetWorkload() string
	GetPageSize() int32
	GetPageToken() string
}

// decisions reads one page of a table, newest first.
func decisions[M proto.Message](ctx context.Context, s *Server, table string, req decisionQuery, empty func() M) (list []M, next string, err error) {
	if err := s.checkWorkload(req.GetWorkload()); err != nil {
		return nil, "", err
	}
	size, err := rpc.PageSize(req.GetPageSize(), usualDecisions, mostDecisions)
	if err != nil {
		return nil, "", err
	}
	request, err := fingerprint(&foreshadowv1.QueryRecommendationsRequest{Workload: table + "/" + req.GetWorkload()})
	if err != nil {
		return nil, "", err
	}
	from, err := readToken(req.GetPageToken(), request)
	if err != nil {
		return nil, "", err
	}
	if from.Time.IsZero() {
		from.Time = s.now().AddDate(100, 0, 0)
	}
	rows, err := s.pool.Query(ctx, "select event_id, happen_time, payload from "+table+` where workload = $1
		and (happen_time, event_id) < ($2, $3) order by happen_time desc, event_id desc limit $4`,
		req.GetWorkload(), from.Time, from.ID, size+1)
	if err != nil {
		return nil, "", database.Away(fmt.Errorf("read %s: %w", table, err))
	}
	last := token{Request: request}
	bytes, more := 0, false
	var id string
	var at time.Time
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &at, &payload}, func() error {
		if bytes += len(payload); more || len(list) == size || (bytes > pageBytes && len(list) > 0) {
			more = true
			return nil
		}
		m := empty()
		if err := proto.Unmarshal(payload, m); err != nil {
			return fmt.Errorf("decode %s: %w", id, err)
		}
		list = append(list, m)
		last.Time, last.ID = at.UTC(), id
		return nil
	})
	if err != nil {
		return nil, "", database.Away(fmt.Errorf("read %s: %w", table, err))
	}
	if more {
		next = last.String()
	}
	return list, next, nil
}
