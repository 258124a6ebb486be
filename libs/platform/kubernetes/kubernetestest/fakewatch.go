package kubernetestest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// watch streams the changes of a collection since a version, until the client goes.
func (f *Fake) watch(w http.ResponseWriter, r *http.Request, q request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	from, err := strconv.ParseInt(r.URL.Query().Get("resourceVersion"), 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	encoder, flush := json.NewEncoder(w), http.NewResponseController(w)
	tick := time.NewTicker(20 * time.Millisecond) // pods become ready as time goes by
	defer tick.Stop()
	for {
		f.mu.Lock()
		f.settle(time.Now())
		expired := from < f.oldest
		var events []event
		for _, e := range f.events {
			if e.version > from && strings.HasPrefix(e.path, q.collection+"|") && selector.Matches(labels.Set(labelsOf(e.object))) {
				events = append(events, e)
			}
		}
		from = f.version
		changed := f.changed
		f.mu.Unlock()
		if expired {
			_ = encoder.Encode(map[string]any{"type": "ERROR", "object": map[string]any{
				"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": http.StatusGone,
			}})
			return
		}
		for _, e := range events {
			if encoder.Encode(map[string]any{"type": e.kind, "object": e.object}) != nil {
				return
			}
		}
		if flush.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// Expire makes every watch from before now expire, as compaction does.
func (f *Fake) Expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	f.oldest = f.version
	close(f.changed)
	f.changed = make(chan struct{})
}
