package history

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/metrics-aggregator/internal/window"
)

const (
	// pageBytes bounds a page well below what a message may hold; a page that reaches it ends early.
	pageBytes = rpc.MaxMessageBytes / 2
	// batch bounds what is read from the database at once.
	batch = 500
)

// token says where a page ended, and for which request: a token of another request is refused.
type token struct {
	Request uint64        `json:"r"`
	Time    time.Time     `json:"t"`
	Width   time.Duration `json:"w,omitempty"`
	ID      string        `json:"i,omitempty"`
}

func (t token) String() string {
	raw, err := json.Marshal(t)
	if err != nil {
		return "" // a time beyond the year 9999 cannot come out of the database
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// readToken returns the zero token for the first page.
func readToken(s string, request uint64) (token, error) {
	if s == "" {
		return token{Request: request}, nil
	}
	var t token
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil || t.Time.IsZero() {
		return token{}, &rpc.FieldError{Field: "page_token", Problem: "is not one that was handed out"}
	}
	if t.Request != request {
		return token{}, &rpc.FieldError{Field: "page_token", Problem: "belongs to a request with other fields"}
	}
	return t, nil
}

// fingerprint tells requests apart by all but their paging fields, which the caller has cleared.
func fingerprint(request proto.Message) (uint64, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return 0, err
	}
	h := fnv.New64a()
	_, _ = h.Write(raw) // never fails
	return h.Sum64(), nil
}

// source returns up to limit windows after a position, in order; none only when there are no more.
type source func(ctx context.Context, after window.Position, limit int) ([]window.Item, error)

// page reads up to size windows and pageBytes, but at least one. more says whether the page ended before the source.
func (next source) page(ctx context.Context, after window.Position, size int) (page []*foreshadowv1.MetricsWindowed, last window.Position, more bool, err error) {
	bytes := 0
	for {
		// One beyond the page tells whether it is the last.
		limit := min(size+1-len(page), batch)
		items, err := next(ctx, after, limit)
		if err != nil {
			return nil, last, false, err
		}
		for _, item := range items {
			if bytes += proto.Size(item.Window); len(page) == size || (bytes > pageBytes && len(page) > 0) {
				return page, last, true, nil
			}
			page = append(page, item.Window)
			last, after = item.Position, item.Position
		}
		if len(items) == 0 {
			return page, last, false, nil
		}
	}
}
