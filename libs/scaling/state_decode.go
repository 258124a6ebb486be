package scaling

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// mostStateBytes bounds what is read; a state is a small part of it.
	mostStateBytes = 1 << 20
	// clockSkew is how far the clocks of two machines, or one that was set, may be apart.
	clockSkew = time.Minute
)

// UnmarshalBinary reads a state that MarshalBinary wrote. What cannot be read with certainty is an error, and s is then left
// as it was: data that was damaged, another version, and numbers or times that no decision leaves behind.
func (s *State) UnmarshalBinary(data []byte) error {
	const sum = 4
	if len(data) < sum || len(data) > mostStateBytes {
		return fmt.Errorf("read state: %d bytes", len(data))
	}
	if castagnoli(data[sum:]) != binary.BigEndian.Uint32(data) {
		return errors.New("read state: it is damaged: its checksum differs")
	}
	out, err := readState(data[sum:])
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	*s = out
	return nil
}

// readState reads the state behind the checksum.
func readState(body []byte) (State, error) {
	// The version alone first: another one may have other types.
	var of struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(body, &of); err != nil {
		return State{}, err
	}
	if of.Version != stateVersion {
		return State{}, fmt.Errorf("version %d: want %d", of.Version, stateVersion)
	}
	var k kept
	if err := json.Unmarshal(body, &k); err != nil {
		return State{}, err
	}
	r := &reader{last: k.At}
	s := State{
		at: r.time("at", k.At), needs: r.peaks("needs", k.Needs, 1), reactive: r.peaks("reactive", k.Reactive, 1),
		hpa: k.HPA.Memory, hpaHolds: r.count("hpa.holds", k.HPA.Holds), hpaSynced: r.time("hpa.synced", k.HPA.Synced),
		rivals: r.rivals(k.Rivals), ebbs: r.ebbs(k.Ebbs), outage: r.time("outage", k.Outage),
		ebbing: k.Ebbing, lost: r.time("lost", k.Lost), indebted: r.time("indebted", k.Indebted), loads: r.loads(k.Loads), move: r.move(k.Move),
	}
	r.fleet(&s, k.HPA)
	// Who follows the HPA's fleet on paper must not follow it to nothing.
	r.expect(s.hpaHolds > 0 || s.rivals.seen == 0 && s.rivals.hpa.spent == 0, "hpa", "no fleet, and yet it was compared with")
	return s, r.err
}

// reader keeps the first fault that it meets.
type reader struct {
	last int64 // the time of the state: nothing in it happened later
	err  error
}

func (r *reader) expect(ok bool, what, fault string) {
	if !ok && r.err == nil {
		r.err = fmt.Errorf("%s: %s", what, fault)
	}
}

// earliest is the year 2000, before this software, in Unix nanoseconds.
const earliest = 946_684_800 * int64(time.Second)

func (r *reader) time(what string, ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	r.expect(ns >= earliest && ns-clockSkew.Nanoseconds() <= r.last, what, "a time that cannot be")
	return time.Unix(0, ns)
}

func (r *reader) count(what string, n int) int {
	r.expect(n >= 0 && n <= instanceLimit, what, "a number of instances that cannot be")
	return n
}

func (r *reader) float(what string, v float64) float64 {
	r.expect(known(v), what, "a negative number")
	return v
}

// peaks reads a moving maximum of needs, which fall, or with a sign of -1 of what was held, which rises.
func (r *reader) peaks(what string, k keptPeaks, sign int64) peaks {
	var out peaks
	for i, e := range k {
		r.expect(e[0] != 0, what, "without its time")
		r.expect(i == 0 || e[1] < k[i-1][1], what, "does not fall")
		r.count(what, int(sign*e[1]))
		out = append(out, peak{r.time(what, e[0]), int(e[1])})
	}
	return out
}

// fleet reads the HPA's fleet on paper and what it met.
func (r *reader) fleet(s *State, k keptHPA) {
	sum := 0
	for _, c := range k.Fleet {
		n := r.count("hpa.fleet", int(c[1]))
		s.hpaFleet = append(s.hpaFleet, cohort{count: n, ordered: r.time("hpa.fleet", c[0])})
		if sum += n; sum > instanceLimit {
			break
		}
	}
	r.expect(sum == s.hpaHolds, "hpa.fleet", "is not what it holds")
	for _, g := range k.Seen {
		s.hpaSeen = append(s.hpaSeen, glance{r.time("hpa.seen", g.At), r.float("hpa.seen", g.Rate), r.count("hpa.seen", g.Ready)})
	}
}

// ebbs are spans of time, each after the one before.
func (r *reader) ebbs(k []keptEbb) ebbs {
	var out ebbs
	for i, e := range k {
		r.expect(e.From != 0 && (i == 0 || e.From > k[i-1].From), "ebbs", "do not follow each other")
		if i > 0 {
			out.past = append(out.past, out.now)
		}
		out.now = ebb{r.time("ebbs", e.From), r.float("ebbs", e.Least)}
	}
	return out
}

// rivals are none when other risks, or in other manners, were tried than are today.
func (r *reader) rivals(k keptRivals) rivals {
	v := rivals{
		at: r.time("rivals.at", k.At), seen: r.float("rivals.seen", k.Seen), real: r.float("rivals.real", k.Real), hpa: r.rival("rivals.hpa", k.HPA),
		most: r.count("rivals.most", k.Most), beyond: r.float("rivals.beyond", k.Beyond),
	}
	if len(k.Own) != len(manners)*len(rivalRisks) {
		return rivals{}
	}
	for i, own := range k.Own {
		at, risk := i/len(rivalRisks), i%len(rivalRisks)
		if own.Risk != rivalRisks[risk] || own.Rise != manners[at].rise || own.Calm != manners[at].calm {
			return rivals{}
		}
		v.own[at][risk] = r.rival("rivals.own", own)
	}
	return v
}

func (r *reader) rival(what string, k keptRival) rival {
	return rival{
		holds: r.count(what, k.Holds), needs: r.peaks(what, k.Needs, 1), low: r.peaks(what, k.Low, -1),
		spent: r.float(what, k.Spent), violated: r.float(what, k.Violated), strained: r.float(what, k.Strained), acted: r.float(what, k.Acted),
	}
}

func (r *reader) loads(k *keptLoads) *loads {
	if k == nil {
		return nil
	}
	l := &loads{since: r.time("loads.since", k.Since), at: r.time("loads.at", k.At)}
	r.expect(k.Since != 0 && k.At != 0, "loads", "without their time")
	for _, b := range k.Bins {
		if b.Bin < 0 || b.Bin >= len(l.bins) {
			r.expect(false, "loads", "a bin that is not there")
			return nil
		}
		l.bins[b.Bin].weight, l.bins[b.Bin].sum = r.float("loads", b.Weight), r.float("loads", b.Sum)
	}
	return l
}

func (r *reader) move(k keptMove) move {
	if k.To != nil {
		r.expect(k.To.known() && k.To.InstanceSize != (InstanceSize{}) && k.To.Capacity.usable(), "move.to", "not a size that was tried")
	}
	// What is not to be asked for is not to be for at most as long as sizes are compared over.
	quiet := time.Time{}
	if k.Quiet != 0 {
		quiet = time.Unix(0, k.Quiet)
		r.expect(k.Quiet >= earliest && k.Quiet-clockSkew.Nanoseconds()-maxStartup.Nanoseconds() <= r.last, "move.quiet", "a time that cannot be")
	}
	return move{to: k.To, since: r.time("move.since", k.Since), quiet: quiet}
}
