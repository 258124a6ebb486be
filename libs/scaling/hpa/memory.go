package hpa

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// entry is a number at a moment in Unix nanoseconds, as a History is written down.
type entry [2]int64

// memory is a History as it is written down.
type memory struct {
	Wishes []entry `json:"wishes,omitempty"`
	Ups    []entry `json:"ups,omitempty"`
	Downs  []entry `json:"downs,omitempty"`
}

// MarshalJSON writes the memory down, for a controller that is to go on after a restart.
func (h History) MarshalJSON() ([]byte, error) {
	var m memory
	for _, w := range h.wishes {
		m.Wishes = append(m.Wishes, entry{int64(w.replicas), w.at.UnixNano()})
	}
	for _, e := range h.ups {
		m.Ups = append(m.Ups, entry{int64(e.change), e.at.UnixNano()})
	}
	for _, e := range h.downs {
		m.Downs = append(m.Downs, entry{int64(e.change), e.at.UnixNano()})
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads a memory back. Replicas and changes that cannot be are an error, and h is left as it was.
func (h *History) UnmarshalJSON(data []byte) error {
	var m memory
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("read the memory of an HPA: %w", err)
	}
	var out History
	for _, e := range m.Wishes {
		out.wishes = append(out.wishes, wish{replicas: int(e[0]), at: time.Unix(0, e[1])})
	}
	for _, e := range m.Ups {
		out.ups = append(out.ups, event{change: int(e[0]), at: time.Unix(0, e[1])})
	}
	for _, e := range m.Downs {
		out.downs = append(out.downs, event{change: int(e[0]), at: time.Unix(0, e[1])})
	}
	// A wish has no bounds; a change is one within them.
	for _, list := range []struct {
		of   []entry
		most int64
	}{{m.Wishes, math.MaxInt64}, {m.Ups, math.MaxInt32}, {m.Downs, math.MaxInt32}} {
		for _, e := range list.of {
			if e[0] < 0 || e[0] > list.most {
				return errors.New("read the memory of an HPA: a number of replicas that cannot be")
			}
		}
	}
	*h = out
	return nil
}
