package sample

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
)

var (
	keyed = traffic.NewSampler("k")
	began = time.Unix(1000, 0)
	item  = traffic.Stratum{Route: "GET /items/{id}"}
	cart  = traffic.Stratum{Route: "GET /cart"}
)

func settings(change func(*workload.Sampling)) workload.Sampling {
	s := workload.Default().Tap.Sampling
	if change != nil {
		change(&s)
	}
	return s
}

// visit shows the sampler n requests of a session.
func visit(s *Sampler, session string, st traffic.Stratum, base float64, n int, seconds float64) {
	for range n {
		s.See(Seen{Draw: keyed.Draw(session), Stratum: st, Base: base, Bytes: 1000, Seconds: seconds})
	}
}

func TestChooseIsNestedAndWeightsFollow(t *testing.T) {
	t.Parallel()
	s := New(settings(nil), began)
	fates := map[Fate]int{}
	for i := range 2000 {
		d := keyed.Draw(fmt.Sprint(i))
		rate, fate := s.Choose(d, item, 0.5, 0.4)
		fates[fate]++
		if _, smaller := s.Choose(d, item, 0.1, 1); smaller == In && fate == Out {
			t.Fatalf("session %d is in the 10 %% sample and not in that of 50 %%", i)
		}
		if fate == In && rate != 0.5*0.4 || fate != In && rate != 0 {
			t.Fatalf("fate %v at the rate %v", fate, rate)
		}
	}
	for fate, want := range map[Fate]int{In: 400, Shed: 600, Out: 1000} {
		if n := fates[fate]; n < want-120 || n > want+120 {
			t.Errorf("fate %v: %d of 2000, want about %d", fate, n, want)
		}
	}
	if _, fate := s.Choose(0, item, 0, 1); fate != Out {
		t.Error("a rate of 0 let a session in")
	}
}

func TestCapsLowerTheRatesAndRecoverSlowly(t *testing.T) {
	t.Parallel()
	s := New(settings(func(c *workload.Sampling) { c.MaxRequests, c.MaxBytes = 90, 45000 }), began)
	rate := func() float64 { return s.plan.Load().rate(item, 0.5) }
	at := began
	second := func(requests int) {
		visit(s, "a", item, 0.5, requests, 0.1)
		at = at.Add(time.Second)
		s.Tick(at, 1)
	}
	second(100) // 50 copies of 1000 bytes: over the cap on bytes, by a ninth of which there is headroom
	if want := 0.5 * 0.9 * 45000 / 50000; math.Abs(rate()-want) > 1e-9 {
		t.Errorf("rate %v, want %v", rate(), want)
	}
	second(1000) // 500 copies
	low := 0.5 * 0.9 * 45000 / 500000
	if math.Abs(rate()-low) > 1e-9 {
		t.Errorf("rate %v, want %v", rate(), low)
	}
	second(1)
	if math.Abs(rate()-low*recovery) > 1e-9 {
		t.Errorf("rate %v a second later, want %v", rate(), low*recovery)
	}
	for range 60 {
		second(1)
	}
	if rate() != 0.5 {
		t.Errorf("rate %v in the end", rate())
	}
}

func TestBucketEnforcesTheCaps(t *testing.T) {
	t.Parallel()
	s := New(settings(func(c *workload.Sampling) { c.MaxRequests, c.MaxBytes = 10, 5000 }), began)
	admitted := func(at time.Time, bytes int64, tries int) (n int) {
		for range tries {
			if s.Admit(at, bytes) {
				n++
			}
		}
		return n
	}
	if n := admitted(began, 1, 100); n != 10 {
		t.Errorf("%d admitted at once, want 10", n)
	}
	if n := admitted(began.Add(time.Second), 1000, 100); n != 5 {
		t.Errorf("%d of 1000 bytes admitted, want 5", n)
	}
	// One larger than the cap goes through alone, and is waited for.
	if n := admitted(began.Add(3*time.Second), 20000, 100); n != 1 {
		t.Errorf("%d of 20000 bytes admitted, want 1", n)
	}
	if n := admitted(began.Add(4*time.Second), 1, 100); n != 0 {
		t.Errorf("%d admitted while the bucket is in debt", n)
	}
	if n := admitted(began.Add(8*time.Second), 1, 100); n == 0 {
		t.Error("none admitted once the debt is paid")
	}
	s.Configure(settings(nil))
	if n := admitted(began, 1<<40, 1000); n != 1000 {
		t.Errorf("%d of 1000 admitted without caps", n)
	}
}

func TestFigureKnowsWhatItCannotKnow(t *testing.T) {
	t.Parallel()
	s := New(settings(nil), began)
	if _, known := s.Figure(); known {
		t.Error("a figure before any traffic")
	}
	s.Tick(began.Add(time.Minute), 1)
	f, known := s.Figure()
	if !known || f.Requests != 0 || !math.IsNaN(f.P95HalfWidth()) {
		t.Errorf("silence: %+v, %v", f, known)
	}
	// Latencies that nobody measured.
	for i := range 500 {
		visit(s, fmt.Sprint(i), item, 0.5, 1, -1)
	}
	s.Tick(began.Add(2*time.Minute), 1)
	if f, _ = s.Figure(); f.Requests != 500 || f.Measured != 0 || !math.IsNaN(f.P95HalfWidth()) || f.Mix != 0 {
		t.Errorf("without latencies: %+v", f)
	}
}

func TestFigureOfEverythingAndOfWholeSessions(t *testing.T) {
	t.Parallel()
	figure := func(base float64, each int) Figure {
		s := New(settings(func(c *workload.Sampling) { c.Interval, c.Span = time.Minute, time.Minute }), began)
		for pass := range 2 {
			for i := range 400 {
				st := item
				if i%2 == 0 {
					st = cart
				}
				visit(s, fmt.Sprint(i), st, base, each, float64(i%20+1)/100)
			}
			s.Tick(began.Add(time.Duration(pass+1)*time.Minute), 1)
		}
		f, _ := s.Figure()
		return f
	}
	if f := figure(1, 5); f.Mix != 0 || f.P95HalfWidth() > 0.05 || f.DesignEffect != 1 {
		t.Errorf("all copied: %+v, p95 within %v", f, f.P95HalfWidth())
	}
	single, whole := figure(0.2, 1), figure(0.2, 5)
	if math.Abs(single.DesignEffect-1) > 1e-9 || math.Abs(whole.DesignEffect-5) > 1e-9 {
		t.Errorf("design effects %v and %v, want 1 and 5", single.DesignEffect, whole.DesignEffect)
	}
	// As many sessions say as much, however many requests each of them repeats.
	if math.Abs(single.Mix-whole.Mix) > 0.01 || single.Mix == 0 {
		t.Errorf("mix within %v and %v", single.Mix, whole.Mix)
	}
}

func TestTargetIsAllocatedAndFollowsTheTraffic(t *testing.T) {
	t.Parallel()
	s := New(settings(func(c *workload.Sampling) {
		c.TargetError, c.Minimum, c.Interval, c.Span = 0.15, 4, 10*time.Second, 10*time.Second
	}), began)
	at := began
	play := func(sessions int) {
		for i := range sessions {
			visit(s, fmt.Sprint(i), item, 0.01, 1+i%3, float64(i%50+1)/100)
			if i%100 == 0 {
				visit(s, fmt.Sprint(i), cart, 0.01, 1, 0.5)
			}
		}
		at = at.Add(10 * time.Second)
		s.Tick(at, 1)
	}
	play(800)
	play(800)
	f, _ := s.Figure()
	few := s.plan.Load().rates
	if f.Mix > 0.15 || f.P95HalfWidth() > 0.15 {
		t.Errorf("target of 15 %% missed: mix %v, p95 %v", f.Mix, f.P95HalfWidth())
	}
	if few[item] >= 0.9 || few[cart] < 4.0/8-1e-9 {
		t.Errorf("rates %v: all is copied, or less than the minimum", few)
	}
	play(3200)
	play(3200)
	f, _ = s.Figure()
	if many := s.plan.Load().rates; many[item] >= few[item] || f.Mix > 0.15 || f.P95HalfWidth() > 0.15 {
		t.Errorf("four times the traffic: rate %v after %v, mix %v, p95 %v", many[item], few[item], f.Mix, f.P95HalfWidth())
	}
	s.Configure(settings(nil))
	if rate := s.plan.Load().rate(item, 0.01); rate != 0.01 {
		t.Errorf("rate %v without a target", rate)
	}
}

func TestManySessionsAreBoundedAndLongOnesKept(t *testing.T) {
	t.Parallel()
	tr := newTracker(1)
	total := 0
	see := func(session string, n int) {
		for range n {
			total++
			tr.see(Seen{Draw: keyed.Draw(session), Stratum: item, Base: 1, Seconds: 0.1})
		}
	}
	for i := range 30000 {
		see(fmt.Sprint("short ", i), 2)
		if i%1000 == 0 {
			see(fmt.Sprint("long ", i), 400)
		}
	}
	p := tr.panes[0]
	if p.otherCells > maxCells || p.heldCells > maxHeldCells || p.below == math.MaxUint64 {
		t.Errorf("%d and %d cells", p.otherCells, p.heldCells)
	}
	pop, _, _ := span(tr.panes)
	if pop.heavy < 25 || pop.heavy > 30 {
		t.Errorf("%d long sessions, want nearly 30", pop.heavy)
	}
	if off := pop.all.total/float64(total) - 1; math.Abs(off) > 0.1 {
		t.Errorf("%v requests of %d", pop.all.total, total)
	}
}

func TestSpanIsTheLastPanes(t *testing.T) {
	t.Parallel()
	tr := newTracker(2)
	for i := range 4 {
		tr.see(Seen{Draw: 1, Stratum: traffic.Stratum{Route: fmt.Sprint(i)}, Base: float64(i + 1), Seconds: 1})
		if i < 3 {
			tr.rotate()
		}
	}
	pop, strata, base := span(tr.panes)
	if len(strata) != 2 || strata[0].Route != "2" || base[1] != 4 || pop.all.total != 2 || len(pop.drawn) != 1 {
		t.Errorf("strata %v, base %v, %v requests of %d sessions", strata, base, pop.all.total, len(pop.drawn))
	}
}

// TestWhatIsSeenInASecondIsBounded: beyond the bound it is left out of the account, and still counts against the caps.
func TestWhatIsSeenInASecondIsBounded(t *testing.T) {
	t.Parallel()
	s := New(settings(nil), began)
	const most = blockLen * maxBlocks
	visit(s, "a", item, 0.5, most+10, 0.1)
	if s.wanted.requests != 0.5*(most+10) {
		t.Errorf("%v are wanted", s.wanted.requests)
	}
	s.Tick(began.Add(time.Second), 1)
	visit(s, "a", item, 0.5, 5, 0.1)
	s.Tick(began.Add(10*time.Second), 1)
	if f, known := s.Figure(); !known || f.Requests != most+5 || len(s.pending.blocks) != 0 || len(s.pending.spare) > maxBlocks {
		t.Errorf("the figure is of %v requests", f.Requests)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s := New(settings(func(c *workload.Sampling) {
		c.TargetError, c.Interval, c.Span = 0.2, time.Second, time.Second
	}), began)
	done := make(chan struct{})
	var wg, ticker sync.WaitGroup
	ticker.Go(func() {
		for at := began; ; {
			select {
			case <-done:
				return
			default:
				at = at.Add(time.Second)
				s.Tick(at, 1)
				s.Configure(settings(func(c *workload.Sampling) { c.MaxRequests = 1e9 }))
			}
		}
	})
	for range 4 {
		wg.Go(func() {
			for i := range 300 {
				d := keyed.Draw(fmt.Sprint(i))
				s.Choose(d, item, 0.5, 1)
				s.See(Seen{Draw: d, Stratum: item, Base: 0.5, Seconds: 0.1})
				s.Admit(began, 1)
			}
		})
	}
	wg.Wait()
	close(done)
	ticker.Wait()
}

func BenchmarkSampler(b *testing.B) {
	s := New(settings(nil), began)
	sessions := make([]string, 5000)
	for i := range sessions {
		sessions[i] = fmt.Sprint("client\x00192.0.2.1\x00", i)
	}
	b.ReportAllocs()
	at := began
	for i := 0; b.Loop(); i++ {
		if i%20000 == 0 { // as many as come in a second, and are accounted for
			at = at.Add(time.Second)
			s.Tick(at, 1)
		}
		d := keyed.Draw(sessions[i%len(sessions)])
		s.Choose(d, item, 0.1, 1)
		s.See(Seen{Draw: d, Stratum: item, Base: 0.1, Bytes: 500, Seconds: 0.05})
	}
}

// BenchmarkReview is what one Interval costs besides, with as many sessions as are kept.
func BenchmarkReview(b *testing.B) {
	for _, target := range []float64{0, 0.05} {
		b.Run(fmt.Sprint("target ", target), func(b *testing.B) {
			s := New(settings(func(c *workload.Sampling) { c.TargetError = target }), began)
			for i := range 12000 {
				visit(s, fmt.Sprint(i), traffic.Stratum{Route: fmt.Sprint(i % 40)}, 0.1, 1+i%4, float64(i%97)/100)
			}
			s.track(s.pending.take(), false)
			p, strata, base := span(s.tracker.panes)
			for b.Loop() {
				s.review(s.settings, p, strata, base, 1)
			}
		})
	}
}

// BenchmarkSeeDuringReview tells the longest that a request waited while the last minute of many sessions was looked at.
func BenchmarkSeeDuringReview(b *testing.B) {
	s := New(settings(func(c *workload.Sampling) { c.Span = time.Hour }), began)
	at := began
	for range 6 {
		for i := range 12000 {
			visit(s, fmt.Sprint(i), traffic.Stratum{Route: fmt.Sprint(i % 40)}, 0.1, 1+i%4, float64(i%97)/100)
		}
		at = at.Add(10 * time.Second)
		s.Tick(at, 1)
	}
	var longest time.Duration
	for b.Loop() {
		at = at.Add(10 * time.Second)
		done := make(chan struct{})
		go func() { defer close(done); s.Tick(at, 1) }()
		for reviewing := true; reviewing; {
			begun := time.Now()
			s.See(Seen{Draw: 1, Stratum: item, Base: 0.1, Seconds: 0.1})
			longest = max(longest, time.Since(begun))
			select {
			case <-done:
				reviewing = false
			case <-time.After(100 * time.Microsecond):
			}
		}
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
}
