package kafka

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
)

func TestWhoHasThePartitionsKeepsThem(t *testing.T) {
	t.Parallel()
	partitions := []kafkago.Partition{{Topic: "a", ID: 0}, {Topic: "a", ID: 1}, {Topic: "b", ID: 0}}
	member := func(id, had string) kafkago.GroupMember {
		return kafkago.GroupMember{ID: id, Topics: []string{"a", "b"}, UserData: []byte(had)}
	}
	for name, c := range map[string]struct {
		members []kafkago.GroupMember
		want    string
	}{
		"one":                           {[]kafkago.GroupMember{member("m", "0")}, "m"},
		"nobody had them":               {[]kafkago.GroupMember{member("n", "0"), member("m", "0"), member("o", "0")}, "m"},
		"one had them":                  {[]kafkago.GroupMember{member("m", "0"), member("n", "7")}, "n"},
		"one is back that had them":     {[]kafkago.GroupMember{member("m", "7"), member("n", "12")}, "n"},
		"one says what is not readable": {[]kafkago.GroupMember{member("m", "x"), member("n", "1"), member("o", "")}, "n"},
	} {
		for range 2 {
			got := (&exclusive{}).AssignGroups(slices.Clone(c.members), partitions)
			want := kafkago.GroupMemberAssignments{}
			for _, m := range c.members {
				want[m.ID] = map[string][]int{}
			}
			want[c.want] = map[string][]int{"a": {0, 1}, "b": {0}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			slices.Reverse(c.members) // in whatever order they come
		}
	}
}

func TestAMemberSaysWhenItHadThePartitions(t *testing.T) {
	t.Parallel()
	e := &exclusive{}
	for _, step := range []struct {
		generation int32
		partitions int
		want       int32
	}{{1, 0, 0}, {2, 6, 2}, {5, 6, 5}, {6, 0, 0}} {
		e.begins(step.generation, step.partitions)
		if data, err := e.UserData(); err != nil || string(data) != strconv.Itoa(int(step.want)) {
			t.Errorf("after generation %d with %d partitions it says %q, %v, want %d", step.generation, step.partitions, data, err, step.want)
		}
	}
}

// TestWhatAMemberIsTold: of each generation once, and of none when the next one does not come in a session.
func TestWhatAMemberIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []int
		a := newAssigned(func(n int) { told = append(told, n) })
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		want := func(what string, want ...int) {
			t.Helper()
			if !slices.Equal(told, want) {
				t.Errorf("%s: told %v, want %v", what, told, want)
			}
			told = nil
		}
		a.begins(1, 6)
		want("the first generation", 6)
		a.ends(1)
		pass(sessionTimeout - 1)
		want("within a session")
		a.begins(2, 6)
		pass(time.Hour)
		want("it is theirs in the next one too", 6)
		a.ends(1) // its functions may be late
		pass(time.Hour)
		want("an earlier one has ended")
		a.ends(2)
		pass(sessionTimeout)
		want("no other came", 0)
		a.begins(3, 2)
		want("one came later", 2)
		a.ends(3)
		a.leave()
		a.leave()
		want("it leaves", 0)
		a.begins(4, 6)
		a.ends(4)
		pass(time.Hour)
		want("after it left")
		newAssigned(nil).begins(1, 6) // nobody asks
	})
}
