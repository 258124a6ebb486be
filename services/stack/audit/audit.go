// Package audit checks the books from outside: what the producers say in their own events, against what the HistoryService
// says, and what every hop says in its ledger.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/metric"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// Window names one window of traffic.
type Window struct {
	Environment foreshadowv1.Environment
	Start       int64 // Unix seconds
}

// Windows is the total of each window over all strata.
type Windows map[Window]metric.Counters

// Requests is the sum of requests over the windows of one environment that start at or after a time.
func (w Windows) Requests(env foreshadowv1.Environment, since time.Time) (n uint64) {
	for key, c := range w {
		if key.Environment == env && key.Start >= since.Unix() {
			n += c.Requests
		}
	}
	return n
}

// Sent reads the whole topic of observations and adds up what was sent for each one-second window that starts before
// cutoff. Copies that a producer re-sent count once.
func Sent(ctx context.Context, broker kafka.Config, workload string, cutoff time.Time) (Windows, error) {
	out := Windows{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg := kafka.TailConfig{Kafka: broker, Topic: kafka.TopicMetricsObserved, From: kafka.Earliest(), CaughtUp: cancel}
	seen := kafka.NewDedup(1000)
	err := kafka.Tail(ctx, cfg, func(r kafka.Record) error {
		var o foreshadowv1.MetricsObserved
		if err := r.Decode(&o); err != nil {
			return fmt.Errorf("decode observation at offset %d: %w", r.Offset, err)
		}
		start := o.GetStartTime().AsTime()
		if !seen.First(r) || o.GetWorkload() != workload || !start.Before(cutoff) {
			return nil
		}
		strata, err := metric.StrataFromProto(o.GetTraffic())
		if err != nil {
			return err
		}
		key := Window{Environment: o.GetEnvironment(), Start: start.Unix()}
		sum := out[key]
		sum.Merge(strata.Total())
		out[key] = sum
		return nil
	})
	return out, err
}

// Stored asks the HistoryService for all windows of traffic that start in [from, cutoff).
func Stored(ctx context.Context, history foreshadowv1.HistoryServiceClient, workload string, from, cutoff time.Time) (Windows, error) {
	out := Windows{}
	for _, env := range []foreshadowv1.Environment{
		foreshadowv1.Environment_ENVIRONMENT_PRODUCTION, foreshadowv1.Environment_ENVIRONMENT_SHADOW,
	} {
		list, err := Query(ctx, history, &foreshadowv1.QueryWindowsRequest{
			Workload: workload, Environment: env, Kind: foreshadowv1.WindowKind_WINDOW_KIND_TRAFFIC,
			StartTime: timestamppb.New(from), EndTime: timestamppb.New(cutoff),
		})
		if err != nil {
			return nil, err
		}
		for _, w := range list {
			strata, err := metric.StrataFromProto(w.GetTraffic().GetStrata())
			if err != nil {
				return nil, err
			}
			out[Window{Environment: env, Start: w.GetStartTime().AsTime().Unix()}] = *strata.Total()
		}
	}
	return out, nil
}

// Query reads all pages of a query.
func Query(ctx context.Context, history foreshadowv1.HistoryServiceClient, req *foreshadowv1.QueryWindowsRequest) ([]*foreshadowv1.MetricsWindowed, error) {
	req.PageSize = 2000
	var out []*foreshadowv1.MetricsWindowed
	for {
		resp, err := history.QueryWindows(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("query windows: %w", err)
		}
		out = append(out, resp.GetWindows()...)
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return out, nil
		}
	}
}

// Differences describes every window in which the two disagree; empty when there is none.
func Differences(sent, stored Windows) []string {
	var out []string
	for key, a := range sent {
		b, ok := stored[key]
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("%s %d: %d requests were sent, no window is there", key.Environment, key.Start, a.Requests))
		case counts(a) != counts(b):
			out = append(out, fmt.Sprintf("%s %d: sent %v, stored %v", key.Environment, key.Start, counts(a), counts(b)))
		}
	}
	for key, b := range stored {
		if _, ok := sent[key]; !ok {
			out = append(out, fmt.Sprintf("%s %d: nothing was sent, %d requests are stored", key.Environment, key.Start, b.Requests))
		}
	}
	slices.Sort(out)
	return out
}

// counts is all that is counted, comparable.
func counts(c metric.Counters) [8]uint64 {
	return [8]uint64{c.Requests, c.Responses, c.Errors, c.SLOViolations, c.RequestBytes, c.ResponseBytes, c.Sampled, c.Latency.Count()}
}

// Ledgers reads the ledgers that a service shows on its admin listener.
func Ledgers(ctx context.Context, admin string) ([]metric.Ledger, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/ledger", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read ledgers: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	var ledgers []metric.Ledger
	if err := json.NewDecoder(resp.Body).Decode(&ledgers); err != nil {
		return nil, fmt.Errorf("read ledgers of %s: %w", admin, err)
	}
	return ledgers, nil
}

// Rest reads the ledgers of several services, each at a moment when nothing is pending in it: the events that are made
// every second keep one such moment for all from coming.
func Rest(ctx context.Context, admins map[string]string) (map[string][]metric.Ledger, error) {
	settled := map[string][]metric.Ledger{}
	busy := ""
	for len(settled) < len(admins) {
		for name, admin := range admins {
			if settled[name] != nil {
				continue
			}
			ledgers, err := Ledgers(ctx, admin)
			if err != nil {
				return nil, err
			}
			at := slices.IndexFunc(ledgers, func(l metric.Ledger) bool { return l.Pending > 0 })
			if at < 0 {
				settled[name] = append([]metric.Ledger{}, ledgers...)
			} else {
				busy = fmt.Sprintf("%s: %d pending", ledgers[at].Hop, ledgers[at].Pending)
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait until nothing is pending: %s", busy)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return settled, nil
}
