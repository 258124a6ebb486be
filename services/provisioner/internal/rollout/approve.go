package rollout

import (
	"fmt"
	"slices"

	"github.com/foreshadow/foreshadow/libs/rpc"
)

// keptLate bounds how many proposals are remembered to tell a late approval from a mistaken one.
const keptLate = 100

// proposal is a change that waits for a person. Recommendations come faster than people read: as long as newer ones lead to
// the same size the proposal keeps its identity, and what is carried out is the newest.
type proposal struct {
	id     string
	target int
	order  *order
}

// propose makes or renews the proposal; it reports whether it is a new one.
func (l *Lane) propose(o *order, target int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proposal != nil && l.proposal.target == target {
		l.proposal.order = o
		return false
	}
	l.drop()
	l.proposal = &proposal{id: o.recommendation.GetRecommendationId(), target: target, order: o}
	return true
}

// withdraw drops the proposal: it is not wanted any more.
func (l *Lane) withdraw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

func (l *Lane) drop() {
	if l.proposal == nil {
		return
	}
	l.late = append(l.late, l.proposal.id)
	l.late = slices.Clone(l.late[max(0, len(l.late)-keptLate):])
	l.proposal = nil
}

// Awaiting is the recommendation that waits for approval; empty when none does.
func (l *Lane) Awaiting() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proposal == nil || !l.deps.Now().Before(l.proposal.order.size.ExpireTime) {
		return ""
	}
	return l.proposal.id
}

// Approve has a proposal carried out in the name of a person. The error is an rpc.ErrPrecondition when it came too late and
// an rpc.ErrNotFound when there never was such a proposal.
func (l *Lane) Approve(id, actor string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.proposal
	switch {
	case slices.Contains(l.late, id):
		return fmt.Errorf("recommendation %q is not wanted any more: %w", id, rpc.ErrPrecondition)
	case p == nil || p.id != id:
		return fmt.Errorf("recommendation %q waits for no approval: %w", id, rpc.ErrNotFound)
	case !l.deps.Now().Before(p.order.size.ExpireTime):
		return fmt.Errorf("recommendation %q expired: %w", id, rpc.ErrPrecondition)
	}
	approved := *p.order
	approved.actor, approved.approved, approved.target = actor, true, p.target
	l.approval = &approved
	l.drop()
	l.nudge()
	return nil
}
