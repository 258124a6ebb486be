package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/rpc"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// change edits a copy of an experiment that is running, until the copy is what all stores over the log take for its next revision.
// One that has ended stays as it is, and so does one that edit returns false for.
func (s *Store) change(ctx context.Context, id string, edit func(*foreshadowv1.Experiment) bool) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	for {
		s.mu.Lock()
		e, err := s.find(id)
		if err != nil {
			s.mu.Unlock()
			return err
		}
		now := e.experiment
		s.mu.Unlock()
		next := proto.CloneOf(now)
		if !isRunning(now) || !edit(next) {
			return nil
		}
		next.Revision++
		if first, err := s.record(ctx, next); err != nil || first {
			return err
		}
		// Another has changed it meanwhile: the edit is made of what it is now.
	}
}

// record writes a revision and reads on until it is known what is that revision; first says that it is the one written, which an
// experiment's first is unless it is void. It may have been written also when there is an error.
func (s *Store) record(ctx context.Context, e *foreshadowv1.Experiment) (first bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	e.ChangeId = uuid.NewString()
	s.mu.Lock()
	s.begins = ""
	if e.GetRevision() == 1 {
		s.begins = e.GetChangeId()
	}
	s.mu.Unlock()
	begin := s.o.Now()
	if err := s.o.Log.Append(ctx, e); err != nil {
		return false, fmt.Errorf("record experiment: %w: %w", rpc.ErrUnavailable, err)
	}
	for {
		s.mu.Lock()
		changed := s.changed
		known, err := s.find(e.GetExperimentId())
		void := e.GetRevision() == 1 && s.begins == ""
		if err == nil && known.experiment.GetRevision() >= e.GetRevision() {
			// A later revision is of somebody who went on from this one, or from another.
			first = known.experiment.GetChangeId() == e.GetChangeId() || e.GetRevision() == 1
			if first && known.held != nil {
				known.held.renewed(begin, s.o.Now())
			}
			s.mu.Unlock()
			return first, nil
		}
		s.mu.Unlock()
		if void {
			return false, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, fmt.Errorf("read back experiment: %w: %w", rpc.ErrUnavailable, ctx.Err())
		}
	}
}

// held is an experiment that is carried out here.
type held struct {
	end  context.CancelFunc
	term time.Duration // from the beginning of a record that counts until it is given up, unless there is another
	last *time.Timer
}

// giveUpAt is the share of a lease after which who could not renew it stops: before another, who heard of the last record later,
// takes over.
const giveUpAt = 2.0 / 3

func newHeld(end context.CancelFunc, lease time.Duration) *held {
	term := time.Duration(giveUpAt * float64(lease))
	return &held{end: end, term: term, last: time.AfterFunc(term, end)}
}

// stop ends what is carried out, at once.
func (h *held) stop() {
	h.last.Stop()
	h.end()
}

// renewed notes a record that was begun to be written at a moment, and counts.
func (h *held) renewed(begin, now time.Time) { h.last.Reset(max(0, h.term-now.Sub(begin))) }
