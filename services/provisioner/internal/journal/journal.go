// Package journal is what the provisioner must not forget when it is killed: pauses, changes that are being made, changes
// that were made and are not recorded yet, and the recent changes that bound the rate of further ones. It is one JSON
// document, replaced as a whole at each update, a few times per change of size: a file that is flushed to the disk, or, where
// one of several provisioners leads, a store that all of them reach.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/provisioner/internal/guardrail"
)

// Pause is a person's order to change nothing.
type Pause struct {
	Reason string    `json:"reason"`
	Actor  string    `json:"actor"`
	Time   time.Time `json:"time"`
}

// Action is the record of one change, which JSON keeps in protobuf's own form.
type Action struct{ *foreshadowv1.ScalingApplied }

// MarshalJSON implements json.Marshaler.
func (a Action) MarshalJSON() ([]byte, error) { return protojson.Marshal(a.ScalingApplied) }

// UnmarshalJSON implements json.Unmarshaler. Fields of a newer version are left out.
func (a *Action) UnmarshalJSON(data []byte) error {
	a.ScalingApplied = &foreshadowv1.ScalingApplied{}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, a.ScalingApplied)
}

// Flight is a change under way. It is written down before the platform is asked.
type Flight struct {
	// Action is the record as far as it is known.
	Action Action `json:"action"`
	// Before are the instances that existed before, so that those it started can be told.
	Before []string `json:"before"`
	// Accepted: the platform is known to have accepted it.
	Accepted bool `json:"accepted"`
	// Rollback: it undoes the change before it.
	Rollback bool `json:"rollback,omitempty"`
}

// Watch is a change that has been made and is undone when users feel it.
type Watch struct {
	// Action that was carried out.
	Action Action `json:"action"`
	// Since when it is in force.
	Since time.Time `json:"since"`
}

// Manual is the size that somebody else has asked for.
type Manual struct {
	// Desired instances.
	Desired int `json:"desired"`
	// Time it was first seen.
	Time time.Time `json:"time"`
}

// Lane is one environment of one workload.
type Lane struct {
	// Generation of the last recommendation acted upon.
	Generation uint64 `json:"generation"`
	// Changes made lately.
	Changes []guardrail.Change `json:"changes"`
	// Flights under way, oldest first; only the last one is not superseded.
	Flights []Flight `json:"flights"`
	// Watch is the last change, while its effect on users is watched.
	Watch *Watch `json:"watch,omitempty"`
	// Manual is the size that runs when somebody else has asked for it.
	Manual *Manual `json:"manual,omitempty"`
	// RolledBack is the size that a rollback holds; Rollbacks counts those since a change was last kept.
	RolledBack guardrail.Floor `json:"rolled_back,omitzero"`
	Rollbacks  int             `json:"rollbacks,omitempty"`
}

// document is the file.
type document struct {
	Pauses map[string]Pause `json:"pauses"`
	Lanes  map[string]Lane  `json:"lanes"`
	// Unrecorded changes are complete and wait to be published, oldest first.
	Unrecorded []Action `json:"unrecorded"`
	// Requests that were carried out, oldest first.
	Requests []Request `json:"requests,omitempty"`
}

// ErrOutdated says that somebody else has written the document since it was read.
var ErrOutdated = errors.New("the journal was written by someone else")

// Store keeps the document.
type Store interface {
	// Load returns it; nil when there is none yet.
	Load() ([]byte, error)
	// Save replaces it as a whole, durably. The error is an ErrOutdated when somebody else has written it.
	Save(data []byte) error
}

// Journal is safe for concurrent use. What its methods return they have made durable.
type Journal struct {
	store Store

	mu  sync.Mutex
	doc document
	// underWay are requests being carried out, by ID; closed when they are.
	underWay map[string]chan struct{}
}

// Open reads the journal in a directory, which is made when it is missing.
func Open(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state_dir: %w", err)
	}
	return OpenStore(&file{path: filepath.Join(dir, "provisioner.json")})
}

// OpenStore reads the journal in a store. A journal that cannot be read is an error: to forget a pause or a change would be
// worse than not to start.
func OpenStore(store Store) (*Journal, error) {
	j := &Journal{store: store}
	data, err := store.Load()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read journal: %w", err)
	case data == nil:
		// An empty one proves now, not at the first change, that it can be written.
		return j, j.update(func(*document) {})
	}
	if err := json.Unmarshal(data, &j.doc); err != nil {
		return nil, fmt.Errorf("decode journal %v: %w", store, err)
	}
	return j, nil
}

// update changes a copy of the document, and the document itself once the copy is on the disk.
func (j *Journal) update(change func(*document)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var next document
	data, err := json.Marshal(j.doc)
	if err == nil {
		err = json.Unmarshal(data, &next)
	}
	if err != nil {
		return fmt.Errorf("copy journal: %w", err)
	}
	if next.Pauses == nil {
		next.Pauses = map[string]Pause{}
	}
	if next.Lanes == nil {
		next.Lanes = map[string]Lane{}
	}
	change(&next)
	if data, err = json.MarshalIndent(next, "", "  "); err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	if err := j.store.Save(data); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.doc = next
	return nil
}

// Pause returns the pause of a workload, if there is one.
func (j *Journal) Pause(workload string) (Pause, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, paused := j.doc.Pauses[workload]
	return p, paused
}

// SetPause pauses a workload.
func (j *Journal) SetPause(workload string, p Pause) error {
	return j.update(func(d *document) { d.Pauses[workload] = p })
}

// Resume ends the pause of a workload.
func (j *Journal) Resume(workload string) error {
	return j.update(func(d *document) { delete(d.Pauses, workload) })
}

// Lane returns what is kept of an environment.
func (j *Journal) Lane(name string) Lane {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.doc.Lanes[name]
}

// Lanes names the environments of which something is kept, in order.
func (j *Journal) Lanes() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.doc.Lanes))
}

// SetLane replaces what is kept of an environment, and notes the changes that became complete with it.
func (j *Journal) SetLane(name string, l Lane, complete []Action) error {
	return j.update(func(d *document) {
		d.Lanes[name] = l
		d.Unrecorded = append(d.Unrecorded, complete...)
	})
}

// Unrecorded are the complete changes that were not recorded yet, oldest first.
func (j *Journal) Unrecorded() []Action {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Action(nil), j.doc.Unrecorded...)
}

// Recorded forgets changes that are recorded, by action ID.
func (j *Journal) Recorded(ids map[string]bool) error {
	return j.update(func(d *document) {
		var left []Action
		for _, a := range d.Unrecorded {
			if !ids[a.GetActionId()] {
				left = append(left, a)
			}
		}
		d.Unrecorded = left
	})
}
