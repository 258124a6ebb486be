package window

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Querier is a connection, a pool or a transaction.
type Querier interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

const (
	keyList = `unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::interval[]) as k (workload, environment, start_time, width)`

	headerColumns = `w.workload, w.environment, w.start_time, w.width, w.revision, w.max_in_flight, w.max_lag_seconds, w.confidence`

	stratumColumns = `s.workload, s.environment, s.start_time, s.width, d.route, d.geography, d.device, d.network,
		s.requests, s.responses, s.errors, s.slo_violations, s.request_bytes, s.response_bytes, s.sampled, s.latency`

	usageColumns = `w.workload, w.environment, w.start_time, w.width, w.revision, w.desired_instances, w.ready_instances`

	instanceColumns = `i.workload, i.environment, i.start_time, i.width, i.instance, i.cpu_cores, i.memory_bytes,
		i.receive_bytes_per_second, i.transmit_bytes_per_second, i.ready, coalesce(i.given_cpu_cores, 0), coalesce(i.given_memory_bytes, 0)`
)

// queueLoad reads the traffic windows of the given keys into a map when the batch is sent.
func queueLoad(batch *pgx.Batch, keys []Key, into map[Key]*Traffic) {
	c := columnsOf(keys)
	args := []any{c.workloads, c.environments, c.starts, c.widths, c.first, c.last}
	batch.Queue("select "+headerColumns+" from "+keyList+` join traffic_window w using (workload, environment, start_time, width)
		where w.start_time between $5 and $6`, args...).Query(func(rows pgx.Rows) error { return scanHeaders(rows, into) })
	batch.Queue("select "+stratumColumns+" from "+keyList+` join traffic_stratum s using (workload, environment, start_time, width)
		join stratum d using (stratum_id) where s.start_time between $5 and $6`, args...).
		Query(func(rows pgx.Rows) error { return scanStrata(rows, into) })
}

// Load returns the traffic windows that exist among the given keys.
func Load(ctx context.Context, q Querier, keys []Key) (map[Key]*Traffic, error) {
	found := make(map[Key]*Traffic, len(keys))
	if len(keys) == 0 {
		return found, nil
	}
	batch := &pgx.Batch{}
	queueLoad(batch, keys, found)
	if err := q.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("load %d traffic windows: %w", len(keys), err)
	}
	return found, nil
}

// LoadUsage returns the usage windows that exist among the given keys.
func LoadUsage(ctx context.Context, q Querier, keys []Key) (map[Key]*Usage, error) {
	found := make(map[Key]*Usage, len(keys))
	if len(keys) == 0 {
		return found, nil
	}
	c := columnsOf(keys)
	args := []any{c.workloads, c.environments, c.starts, c.widths, c.first, c.last}
	batch := &pgx.Batch{}
	batch.Queue("select "+usageColumns+" from "+keyList+` join usage_window w using (workload, environment, start_time, width)
		where w.start_time between $5 and $6`, args...).Query(func(rows pgx.Rows) error { return scanUsage(rows, found) })
	batch.Queue("select "+instanceColumns+" from "+keyList+` join usage_instance i using (workload, environment, start_time, width)
		where i.start_time between $5 and $6 order by i.instance`, args...).
		Query(func(rows pgx.Rows) error { return scanInstances(rows, found) })
	if err := q.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("load %d usage windows: %w", len(keys), err)
	}
	return found, nil
}

func scanHeaders(rows pgx.Rows, into map[Key]*Traffic) error {
	var k rawKey
	var revision, maxInFlight int64
	var maxLag float64
	var encoded []byte
	_, err := pgx.ForEachRow(rows, k.targets(&revision, &maxInFlight, &maxLag, &encoded), func() error {
		confidence, err := readConfidence(encoded)
		if err != nil {
			return fmt.Errorf("read window at %s: %w", k.start, err)
		}
		into[k.key()] = &Traffic{
			Revision: uint64(revision), Strata: metric.Strata{}, MaxInFlight: uint32(maxInFlight), MaxLag: maxLag, Confidence: confidence,
		}
		return nil
	})
	return err
}

// readConfidence takes null for a figure that is not known.
func readConfidence(encoded []byte) (metric.Confidence, error) {
	if encoded == nil {
		return metric.Confidence{}, nil
	}
	var p foreshadowv1.SampleConfidence
	if err := proto.Unmarshal(encoded, &p); err != nil {
		return metric.Confidence{}, fmt.Errorf("decode confidence: %w", err)
	}
	return metric.ConfidenceFromProto(&p)
}

func scanStrata(rows pgx.Rows, into map[Key]*Traffic) error {
	var k rawKey
	var s traffic.Stratum
	var n counters
	var latency []byte
	targets := append(k.targets(&s.Route, &s.Geography, &s.Device, &s.Network), append(n.targets(), &latency)...)
	_, err := pgx.ForEachRow(rows, targets, func() error {
		w := into[k.key()]
		if w == nil {
			return nil // it came between the two statements
		}
		c, err := n.read(latency)
		if err != nil {
			return fmt.Errorf("read window at %s: %w", k.start, err)
		}
		w.Strata[s] = c
		return nil
	})
	return err
}

func scanUsage(rows pgx.Rows, into map[Key]*Usage) error {
	var k rawKey
	var revision int64
	var desired, ready int32
	_, err := pgx.ForEachRow(rows, k.targets(&revision, &desired, &ready), func() error {
		into[k.key()] = &Usage{Revision: uint64(revision), Desired: desired, Ready: ready}
		return nil
	})
	return err
}

func scanInstances(rows pgx.Rows, into map[Key]*Usage) error {
	var k rawKey
	var id string
	var cpu, receive, transmit, givenCPU float64
	var memory, givenMemory int64
	var ready bool
	_, err := pgx.ForEachRow(rows, k.targets(&id, &cpu, &memory, &receive, &transmit, &ready, &givenCPU, &givenMemory), func() error {
		if w := into[k.key()]; w != nil {
			w.Instances = append(w.Instances, &foreshadowv1.InstanceUsage{
				Instance: id, CpuCores: cpu, MemoryBytes: uint64(memory),
				ReceiveBytesPerSecond: receive, TransmitBytesPerSecond: transmit, Ready: ready,
				GivenCpuCores: givenCPU, GivenMemoryBytes: uint64(givenMemory),
			})
		}
		return nil
	})
	return err
}

// rawKey is a key as the database gives it.
type rawKey struct {
	workload    string
	environment int16
	start       time.Time
	width       time.Duration
}

func (k *rawKey) targets(more ...any) []any {
	return append([]any{&k.workload, &k.environment, &k.start, &k.width}, more...)
}

func (k *rawKey) key() Key {
	return Key{Workload: k.workload, Environment: foreshadowv1.Environment(k.environment), Start: k.start.UTC(), Width: k.width}
}

// counters are metric.Counters but for the latency, in the order of the columns.
type counters [7]int64

func countersOf(c *metric.Counters) counters {
	return counters{int64(c.Requests), int64(c.Responses), int64(c.Errors), int64(c.SLOViolations),
		int64(c.RequestBytes), int64(c.ResponseBytes), int64(c.Sampled)}
}

func (n *counters) targets() []any {
	out := make([]any, len(n))
	for i := range n {
		out[i] = &n[i]
	}
	return out
}

func (n *counters) read(latency []byte) (*metric.Counters, error) {
	c := &metric.Counters{
		Requests: uint64(n[0]), Responses: uint64(n[1]), Errors: uint64(n[2]), SLOViolations: uint64(n[3]),
		RequestBytes: uint64(n[4]), ResponseBytes: uint64(n[5]), Sampled: uint64(n[6]),
	}
	if latency == nil {
		return c, nil
	}
	var p foreshadowv1.LatencySketch
	if err := proto.Unmarshal(latency, &p); err != nil {
		return nil, fmt.Errorf("decode latency: %w", err)
	}
	sketch, err := metric.SketchFromProto(&p)
	if err != nil {
		return nil, err
	}
	c.Latency = sketch
	return c, nil
}
