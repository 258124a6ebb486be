package kafka

import (
	"cmp"
	"slices"
	"strconv"
	"sync/atomic"

	kafkago "github.com/segmentio/kafka-go"
)

// exclusive gives all partitions to one member of a group, and none to the others: they are in reserve. Who has them keeps them
// over every rebalance for as long as it is a member. Each member says in which generation it had them last, so that whichever
// member is asked to assign gives them to the latest, and not to one that was taken for dead and is back; to the one with the
// smallest identity when nobody had them.
type exclusive struct {
	// had is the generation in which this member has, or lately had, the partitions; 0 when it was given none since.
	had atomic.Int32
}

// begins notes what this member was given in a generation.
func (e *exclusive) begins(generation int32, partitions int) {
	if partitions == 0 {
		generation = 0
	}
	e.had.Store(generation)
}

// ProtocolName implements kafkago.GroupBalancer.
func (e *exclusive) ProtocolName() string { return "foreshadow-exclusive" }

// UserData implements kafkago.GroupBalancer.
func (e *exclusive) UserData() ([]byte, error) {
	return strconv.AppendInt(nil, int64(e.had.Load()), 10), nil
}

// AssignGroups implements kafkago.GroupBalancer.
func (e *exclusive) AssignGroups(members []kafkago.GroupMember, partitions []kafkago.Partition) kafkago.GroupMemberAssignments {
	all := map[string][]int{}
	for _, p := range partitions {
		all[p.Topic] = append(all[p.Topic], p.ID)
	}
	out := make(kafkago.GroupMemberAssignments, len(members))
	for _, m := range members {
		out[m.ID] = map[string][]int{} // one that is left out would get an answer that kafka-go cannot read
	}
	owner := slices.MaxFunc(members, func(a, b kafkago.GroupMember) int {
		return cmp.Or(cmp.Compare(hadIn(a), hadIn(b)), cmp.Compare(b.ID, a.ID))
	})
	out[owner.ID] = all
	return out
}

// hadIn is the generation in which a member had the partitions; 0 when it did not.
func hadIn(m kafkago.GroupMember) int64 {
	generation, err := strconv.ParseInt(string(m.UserData), 10, 32)
	if err != nil {
		return 0 // not one of ours
	}
	return generation
}
