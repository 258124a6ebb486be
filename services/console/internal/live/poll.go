package live

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

const (
	callTimeout  = 3 * time.Second
	shownActions = 50
	// One that may be used is looked for behind many that may not: it is what is decided by until there is another.
	searchedCapacities = 100
	newestCapacities   = 4
)

// shownCapacities are the newest measurements and the newest one that may be used; newest first, as they come.
func shownCapacities(measured []*foreshadowv1.CapacityMeasured) []*foreshadowv1.CapacityMeasured {
	newest := measured[:min(newestCapacities, len(measured))]
	if valid := slices.IndexFunc(measured, (*foreshadowv1.CapacityMeasured).GetValid); valid >= len(newest) {
		return append(slices.Clone(newest), measured[valid])
	}
	return newest
}

// poll is one source that is asked again and again.
type poll struct {
	source, backend string
	every           time.Duration
	ask             func(context.Context) (proto.Message, error)
}

func (f *Feed) polls() []poll {
	name, pace := f.workload.Name, f.opts.Pace
	return []poll{
		{SourceForecast, upstream.Predictor, pace, func(ctx context.Context) (proto.Message, error) {
			return f.up.Forecasts.GetForecast(ctx, &foreshadowv1.GetForecastRequest{Workload: name})
		}},
		{SourceActions, upstream.Provisioner, 2 * pace, func(ctx context.Context) (proto.Message, error) {
			return f.up.Provisioning.ListActions(ctx, &foreshadowv1.ListActionsRequest{Workload: name, PageSize: shownActions})
		}},
		{SourceProvisioning, upstream.Provisioner, 2 * pace, func(ctx context.Context) (proto.Message, error) {
			return f.up.Provisioning.GetProvisioningStatus(ctx, &foreshadowv1.GetProvisioningStatusRequest{Workload: name})
		}},
		{SourceCapacity, upstream.History, 5 * pace, func(ctx context.Context) (proto.Message, error) {
			resp, err := f.up.History.QueryCapacityMeasurements(ctx, &foreshadowv1.QueryCapacityMeasurementsRequest{Workload: name, PageSize: searchedCapacities})
			if err == nil {
				resp.Measurements = shownCapacities(resp.Measurements)
			}
			return resp, err
		}},
		{SourceExperiments, upstream.ShadowRunner, 5 * pace, func(ctx context.Context) (proto.Message, error) {
			return f.up.Experiments.ListExperiments(ctx, &foreshadowv1.ListExperimentsRequest{Workload: name, PageSize: 5})
		}},
	}
}

// poll asks a source while anybody looks: a forecast costs the predictor some ten milliseconds of a core.
func (f *Feed) poll(ctx context.Context, p poll) {
	for f.awaitClient(ctx) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		answer, err := p.ask(call)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			f.mu.Lock()
			if f.state.answer(p.source, answer) {
				f.sendProto(p.source, answer)
			}
			f.mu.Unlock()
		}
		f.report(p.source, p.backend, err)
		if !pause(ctx, p.every) {
			return
		}
	}
}

// awaitClient waits until a browser is connected; it reports whether ctx goes on.
func (f *Feed) awaitClient(ctx context.Context) bool {
	f.mu.Lock()
	connected, looked := len(f.clients) > 0, f.looked
	f.mu.Unlock()
	if connected {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-looked:
		return true
	}
}

// sendProto is send for a message of the contract; the caller holds the lock.
func (f *Feed) sendProto(event string, m proto.Message) {
	if len(f.clients) == 0 {
		return
	}
	data, err := JSON.Marshal(m)
	if err != nil {
		f.log.Error("event not encoded", "event", event, "err", err)
		return
	}
	f.send(event, json.RawMessage(data))
}
