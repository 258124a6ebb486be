package gateway

import (
	"encoding/json"
	"mime"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/console/internal/upstream"
)

const (
	maxBodyBytes = 16 << 10
	maxTextRunes = 200
	readTimeout  = 5 * time.Second
	defaultActor = "console"
)

// order is the body of a state-changing request.
type order struct {
	// Reason is why; shown to others.
	Reason string `json:"reason"`
	// Actor is who; `console` when empty.
	Actor string `json:"actor"`
}

// change guards a state-changing request: a form or an image of a foreign page can neither send JSON nor claim our origin.
func (g *gateway) change(apply func(*http.Request, string, order) (proto.Message, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := g.origin.Check(r); err != nil {
			writeError(w, http.StatusForbidden, apiError{Code: "PERMISSION_DENIED", Message: "the request came from another origin"})
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			writeError(w, http.StatusUnsupportedMediaType, apiError{Code: "INVALID_ARGUMENT", Message: "Content-Type: want application/json"})
			return
		}
		name, known := g.workload(w, r)
		if !known {
			return
		}
		o, err := readOrder(w, r)
		if err != nil {
			g.fail(w, "", err)
			return
		}
		answer, err := apply(r, name, o)
		g.reply(w, upstream.Provisioner, answer, err)
	}
}

func readOrder(w http.ResponseWriter, r *http.Request) (order, error) {
	// The server has no read timeout because event streams stay open; a body that trickles in must still end.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		return order{}, err
	}
	var o order
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return order{}, &rpc.FieldError{Field: "body", Problem: err.Error()}
	}
	o.Reason, o.Actor = strings.TrimSpace(o.Reason), strings.TrimSpace(o.Actor)
	for field, text := range map[string]string{"reason": o.Reason, "actor": o.Actor} {
		if len([]rune(text)) > maxTextRunes {
			return order{}, &rpc.FieldError{Field: field, Problem: "must be at most 200 characters"}
		}
	}
	if o.Actor == "" {
		o.Actor = defaultActor
	}
	return o, nil
}

func (g *gateway) pause(r *http.Request, workload string, o order) (proto.Message, error) {
	if o.Reason == "" {
		return nil, &rpc.FieldError{Field: "reason", Problem: "is required"}
	}
	return g.Clients.Provisioning.PauseProvisioning(r.Context(), &foreshadowv1.PauseProvisioningRequest{
		Workload: workload, Reason: o.Reason, Actor: o.Actor,
	})
}

func (g *gateway) resume(r *http.Request, workload string, o order) (proto.Message, error) {
	return g.Clients.Provisioning.ResumeProvisioning(r.Context(), &foreshadowv1.ResumeProvisioningRequest{Workload: workload, Actor: o.Actor})
}
