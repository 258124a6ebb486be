package gateway

import (
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/foreshadow/foreshadow/services/console/internal/live"
)

// events streams what a feed says to one browser, until either side ends it or the browser is too slow.
func (g *gateway) events(w http.ResponseWriter, r *http.Request) {
	feed, known := g.Feeds[r.PathValue("workload")]
	if !known {
		writeStatus(w, http.StatusNotFound, status.New(codes.NotFound, "no such workload: "+r.PathValue("workload")))
		return
	}
	client, err := feed.Subscribe()
	switch {
	case errors.Is(err, live.ErrTooMany), errors.Is(err, live.ErrEnded):
		writeStatus(w, http.StatusServiceUnavailable, status.New(codes.Unavailable, err.Error()))
		return
	case err != nil:
		writeStatus(w, http.StatusInternalServerError, status.New(codes.Internal, err.Error()))
		return
	}
	defer client.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	// Proxies in front would hold events back.
	w.Header().Set("X-Accel-Buffering", "no")
	beat := time.NewTicker(g.Heartbeat)
	defer beat.Stop()
	if g.write(w, []byte("retry: 1000\n\n")) != nil {
		return
	}
	for {
		var frame []byte
		select {
		case <-r.Context().Done():
			return
		case now := <-beat.C:
			// An event, not a comment: the page can tell a silent workload from a connection that is dead.
			if frame, err = live.Frame("heartbeat", map[string]float64{"time": float64(now.UnixMilli()) / 1000}); err != nil {
				return
			}
		case next, open := <-client.Frames():
			if !open {
				return
			}
			frame = next
		}
		if g.write(w, frame) != nil {
			return
		}
	}
}

func (g *gateway) write(w http.ResponseWriter, frame []byte) error {
	rc := http.NewResponseController(w)
	if err := rc.SetWriteDeadline(time.Now().Add(g.WriteTimeout)); err != nil {
		return err
	}
	if _, err := w.Write(frame); err != nil {
		return err
	}
	return rc.Flush()
}
