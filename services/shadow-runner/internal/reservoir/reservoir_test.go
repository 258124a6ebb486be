package reservoir_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/reservoir"
)

var epoch = time.Unix(1_000_000, 0)

func request(t *testing.T, target string, at time.Duration, weight float64) *captured.Request {
	t.Helper()
	r := referencetest.Request(t, "s", target, epoch.Add(at))
	r.Weight = weight
	return r
}

func TestOldestMakeRoom(t *testing.T) {
	t.Parallel()
	r := reservoir.New(3, 1<<20)
	if r.Mix() != nil {
		t.Error("a mix of nothing")
	}
	for i := range 5 {
		r.Add(request(t, fmt.Sprintf("/%d", i), 0, 1))
	}
	shares := r.Mix().Shares()
	if r.Len() != 3 || len(shares) != 3 || shares[0].GetStratum().GetRoute() != "GET /2" {
		t.Errorf("kept %d: %v", r.Len(), shares)
	}
	size := request(t, "/0", 0, 1).Size()
	tight := reservoir.New(100, 2*size)
	for i := range 5 {
		tight.Add(request(t, fmt.Sprintf("/%d", i), 0, 1))
	}
	if tight.Len() != 2 {
		t.Errorf("kept %d in room for 2", tight.Len())
	}
}

func TestRateCountsWeightsOfWholeSeconds(t *testing.T) {
	t.Parallel()
	r := reservoir.New(10, 1<<20) // far fewer than the requests of the span: the rate does not depend on what is kept
	if _, known := r.Rate(epoch); known {
		t.Error("a rate of nothing")
	}
	for s := range 30 {
		for i := range 4 + s%2 {
			r.Add(request(t, "/", time.Duration(s)*time.Second+time.Duration(i)*time.Millisecond, 10))
		}
	}
	now := epoch.Add(30 * time.Second)
	if got, known := r.Rate(now); !known || math.Abs(got-45) > 1e-9 {
		t.Errorf("rate %v, %v, want 45 requests/s", got, known)
	}
	if _, known := r.Rate(now.Add(time.Minute)); known {
		t.Error("a rate of a minute ago passes for the present one")
	}
	// A straggler of long ago changes nothing, and costs no memory.
	r.Add(request(t, "/", -time.Hour, 10))
	if got, _ := r.Rate(now); math.Abs(got-45) > 1e-9 {
		t.Errorf("rate %v after a straggler", got)
	}
}

// TestASecondThatBeganBeforeIsNotCounted: a runner that starts, or takes over, reads on from the middle of one.
func TestASecondThatBeganBeforeIsNotCounted(t *testing.T) {
	t.Parallel()
	r := reservoir.New(1000, 1<<20)
	for ms := 700; ms < 30_000; ms += 25 { // 40 requests/s
		r.Add(request(t, "/", time.Duration(ms)*time.Millisecond, 1))
		now := epoch.Add(time.Duration(ms) * time.Millisecond)
		if got, known := r.Rate(now); known != (ms >= 3000) || known && got != 40 {
			t.Fatalf("rate %v, %v after %d ms", got, known, ms)
		}
	}
}

func TestDrawHoldsTheMix(t *testing.T) {
	t.Parallel()
	items := []*captured.Request{
		request(t, "/cheap", 0, 1), request(t, "/cheap", 0, 2), request(t, "/dear", 0, 6), request(t, "/rare", 0, 1),
	}
	mix := reservoir.NewMix(items)
	want := map[string]float64{"GET /cheap": 0.3, "GET /dear": 0.6, "GET /rare": 0.1}
	for _, s := range mix.Shares() {
		if math.Abs(s.GetShare()-want[s.GetStratum().GetRoute()]) > 1e-9 {
			t.Errorf("share of %v, want %v", s, want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		n := 1 + rng.IntN(100)
		got := map[string]int{}
		for _, r := range mix.Draw(rng, n) {
			got[r.Stratum.Route]++
		}
		for route, share := range want {
			if math.Abs(float64(got[route])-share*float64(n)) > 1 {
				t.Errorf("%d of %d draws are %s, want %.1f", got[route], n, route, share*float64(n))
			}
		}
	}
	a, b := mix.Draw(rng, 50), mix.Draw(rng, 50)
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	if same == len(a) {
		t.Error("two draws in the same order: bursts would always be of one stratum")
	}
}

// TestRequestsOfASessionSayLess: what the sample says of shares is what sessions say, and sessions differ.
func TestRequestsOfASessionSayLess(t *testing.T) {
	t.Parallel()
	const sessions, each = 200, 10
	build := func(target func(session, i int) string, name func(session, i int) string) *reservoir.Mix {
		var items []*captured.Request
		for s := range sessions {
			for i := range each {
				r := request(t, target(s, i), 0, 2)
				r.Session = name(s, i)
				items = append(items, r)
			}
		}
		return reservoir.NewMix(items)
	}
	own := func(s, _ int) string { return fmt.Sprint("s", s) }
	rng := rand.New(rand.NewPCG(5, 6))
	coin := func() string { return []string{"/a", "/b"}[rng.IntN(2)] }
	alike := make([]string, sessions)
	for s := range alike {
		alike[s] = coin()
	}
	tests := map[string]struct {
		mix       *reservoir.Mix
		low, high float64
	}{
		"each session on one page":     {build(func(s, _ int) string { return alike[s] }, own), sessions * 0.99, sessions * 1.01},
		"each request at random":       {build(func(int, int) string { return coin() }, own), sessions * each * 0.8, sessions * each},
		"each request of its own":      {build(func(int, int) string { return coin() }, func(int, int) string { return "" }), sessions * each * 0.99, sessions * each},
		"one page only":                {build(func(int, int) string { return "/a" }, own), sessions * each, sessions * each},
		"one session only":             {build(func(int, int) string { return coin() }, func(int, int) string { return "s" }), 1, 1},
		"every session the same pages": {build(func(_, i int) string { return fmt.Sprint("/", i%2) }, own), sessions * each, sessions * each},
	}
	for name, tc := range tests {
		if got := tc.mix.Requests(); got < tc.low || got > tc.high {
			t.Errorf("%s: %v requests, want %v to %v of %d", name, got, tc.low, tc.high, sessions*each)
		}
	}
}
