package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Topics are all that the sink can handle.
func Topics() []string {
	return []string{kafka.TopicMetricsObserved, kafka.TopicCapacityMeasured, kafka.TopicScalingRecommended, kafka.TopicScalingApplied}
}

// decisionTable says where the records of a topic go, and what of them.
type decisionTable struct {
	table string
	// read decodes a record and returns its workload and when it happened.
	read func(kafka.Record) (workload string, at *timestamppb.Timestamp, err error)
}

func tableOf(topic string) (decisionTable, error) {
	switch topic {
	case kafka.TopicCapacityMeasured:
		return decisionTable{"capacity_measurement", reader(func(m *foreshadowv1.CapacityMeasured) *timestamppb.Timestamp { return m.MeasureTime })}, nil
	case kafka.TopicScalingRecommended:
		return decisionTable{"recommendation", reader(func(m *foreshadowv1.Recommendation) *timestamppb.Timestamp { return m.CreateTime })}, nil
	case kafka.TopicScalingApplied:
		return decisionTable{"scaling_action", reader(func(m *foreshadowv1.ScalingApplied) *timestamppb.Timestamp { return m.CreateTime })}, nil
	default:
		return decisionTable{}, fmt.Errorf("no table for topic %s", topic)
	}
}

func reader[T any, M interface {
	*T
	proto.Message
	GetWorkload() string
}](timeOf func(M) *timestamppb.Timestamp) func(kafka.Record) (string, *timestamppb.Timestamp, error) {
	return func(r kafka.Record) (string, *timestamppb.Timestamp, error) {
		m := M(new(T))
		if err := r.Decode(m); err != nil {
			return "", nil, err
		}
		return m.GetWorkload(), timeOf(m), nil
	}
}

// handleDecisions stores records as they came, once per event id.
func (s *Sink) handleDecisions(ctx context.Context, chunk kafka.Chunk) error {
	target, err := tableOf(chunk.Topic)
	if err != nil {
		return err
	}
	now, err := s.present(ctx)
	if err != nil {
		return err
	}
	var ids, workloads []string
	var times []time.Time
	var payloads [][]byte
	var poison []kafka.Poison
	for _, r := range chunk.Records {
		workload, at, err := target.read(r)
		if err == nil {
			err = checkDecision(workload, at, now)
		}
		if err != nil {
			poison = append(poison, kafka.Poison{Offset: r.Offset, Reason: err.Error()})
			continue
		}
		ids, workloads = append(ids, r.Meta.ID), append(workloads, workload)
		times, payloads = append(times, at.AsTime()), append(payloads, r.Value)
	}
	if len(poison) > 0 {
		return &kafka.PoisonError{Records: poison}
	}
	err = pgx.BeginFunc(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := claim(ctx, tx, chunk); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into `+target.table+` (event_id, workload, happen_time, payload)
			select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::bytea[]) on conflict do nothing`,
			ids, workloads, times, payloads)
		return err
	})
	if err != nil {
		return fmt.Errorf("commit chunk from offset %d: %w", chunk.From, err)
	}
	return nil
}

func checkDecision(workload string, at *timestamppb.Timestamp, now present) error {
	if workload == "" {
		return errors.New("workload: is empty")
	}
	if err := checkName("workload", workload); err != nil {
		return err
	}
	if err := at.CheckValid(); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	return now.ahead("time", at.AsTime())
}
