package live

import (
	"encoding/json"
	"fmt"
	"time"
)

// queueFrames bounds what a browser may be behind: about a minute of a busy page.
const queueFrames = 1024

// Client is one connected browser.
type Client struct {
	feed   *Feed
	frames chan []byte
}

// Frames are Server-Sent Events, the first a snapshot. It is closed when the client was too slow or the feed ended.
func (c *Client) Frames() <-chan []byte { return c.frames }

// Close ends the subscription.
func (c *Client) Close() {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	c.feed.drop(c)
}

// Subscribe connects a browser: a snapshot now, then every event after it, none missing between the two.
func (f *Feed) Subscribe() (*Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, ErrEnded
	}
	if len(f.clients) >= f.opts.MaxClients {
		return nil, fmt.Errorf("%w: %d are connected", ErrTooMany, len(f.clients))
	}
	first, err := f.snapshotFrame()
	if err != nil {
		return nil, err
	}
	c := &Client{feed: f, frames: make(chan []byte, queueFrames)}
	c.frames <- first
	if len(f.clients) == 0 {
		close(f.looked)
		f.looked = make(chan struct{})
	}
	f.clients[c] = struct{}{}
	f.metrics.Clients.Inc()
	return c, nil
}

// send gives an event to every client; the caller holds the lock.
func (f *Feed) send(event string, data any) {
	if len(f.clients) == 0 {
		return
	}
	frame, err := Frame(event, data)
	if err != nil {
		f.log.Error("event not encoded", "event", event, "err", err)
		return
	}
	f.broadcast(frame)
}

// broadcast never waits: a client whose queue is full is disconnected and will fetch a snapshot when it comes back.
func (f *Feed) broadcast(frame []byte) {
	for c := range f.clients {
		select {
		case c.frames <- frame:
		default:
			f.metrics.Slow.Inc()
			f.drop(c)
		}
	}
}

// sendSnapshot replaces what every client has; the caller holds the lock.
func (f *Feed) sendSnapshot() {
	if len(f.clients) == 0 {
		return
	}
	frame, err := f.snapshotFrame()
	if err != nil {
		f.log.Error("event not encoded", "event", "snapshot", "err", err)
		return
	}
	f.broadcast(frame)
}

func (f *Feed) snapshotFrame() ([]byte, error) {
	snap, err := f.state.snapshot(time.Now())
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return Frame("snapshot", snap)
}

func (f *Feed) drop(c *Client) {
	if _, connected := f.clients[c]; connected {
		delete(f.clients, c)
		close(c.frames)
		f.metrics.Clients.Dec()
	}
}

// Frame encodes one Server-Sent Event.
func Frame(event string, data any) ([]byte, error) {
	body, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w", event, err)
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, body), nil
}
