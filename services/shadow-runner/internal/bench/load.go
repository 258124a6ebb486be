//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/foreshadow/foreshadow/libs/metric"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/traffic"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/captured"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/client"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/pace"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/replay"
)

const (
	// loadLength is how long each rate is offered, lagging what a request may be late to count as sent on time.
	loadLength = 4 * time.Second
	onTime     = time.Millisecond
	lag        = time.Second
	maxLate    = 250 * time.Millisecond
)

// offered is how a rate went.
type offered struct {
	rate         int
	sent, within float64 // shares of all requests
	p50, p95     time.Duration
	max          time.Duration
	cores        float64 // of the runner
}

// sustained: all but a few were sent, and none piled up.
func (f offered) sustained() bool { return f.sent >= 0.999 && f.p95 <= 10*time.Millisecond }

func offeredLoad(ctx context.Context, o options, t *table) error {
	server, err := start(ctx, "-role", "null")
	if err != nil {
		return err
	}
	defer server.stop()
	limit := 0
	for text := range strings.SplitSeq(o.rates, ",") {
		rate, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		f, err := offer(ctx, server.address, rate)
		if err != nil {
			return err
		}
		what, said := fmt.Sprintf("offered load, %d/s", rate), fmt.Sprintf("%.1f %% sent, %.1f %% within 1 ms, lag p50 %d µs, p95 %d µs, max %.1f ms; %.2f cores",
			100*f.sent, 100*f.within, f.p50.Microseconds(), f.p95.Microseconds(), f.max.Seconds()*1e3, f.cores)
		if rate == 2_000 {
			t.check(f.within >= 0.95 && f.sustained(), what, "95 % within 1 ms", "%s", said)
		} else {
			t.tell(what, "%s", said)
		}
		if f.sustained() {
			limit = rate
		}
	}
	t.check(limit > 0, "highest rate sustained", "20000/s, or the limit stated", "%d/s", limit)
	return nil
}

// offer replays a rate into the server at address.
func offer(ctx context.Context, address string, rate int) (offered, error) {
	c := client.New(client.Options{Timeout: 5 * time.Second, MaxIdle: 1000, Now: time.Now})
	defer c.Close()
	n := int(float64(rate) * loadLength.Seconds())
	seen, book := &lags{list: make([]time.Duration, 0, n)}, metric.NewBook("bench")
	r := replay.New(replayOptions(target(address), c, seen, book, n))
	begin := time.Now().Add(loadLength / 8)
	for i := range n {
		req, err := request("s", "/", begin.Add(time.Duration(i)*time.Second/time.Duration(rate)))
		if err != nil {
			return offered{}, err
		}
		book.See(1)
		r.Offer(req)
	}
	runtime.GC()
	before := cpu()
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	time.AfterFunc(time.Until(begin.Add(lag+loadLength+2*maxLate)), cancel)
	if err := r.Run(running, ctx); err != nil {
		return offered{}, err
	}
	used := cpu() - before
	slices.Sort(seen.list)
	on, last := 0, len(seen.list)-1
	if last < 0 {
		return offered{rate: rate}, ctx.Err()
	}
	for on <= last && seen.list[on] <= onTime {
		on++
	}
	return offered{
		rate: rate, sent: float64(book.Ledger().Passed) / float64(n), within: float64(on) / float64(n),
		p50: seen.list[last/2], p95: seen.list[last*95/100], max: seen.list[last], cores: used.Seconds() / loadLength.Seconds(),
	}, ctx.Err()
}

func replayOptions(to replay.Instances, c replay.Sender, seen replay.Observer, book *metric.Book, queued int) replay.Options {
	return replay.Options{
		Allow: replay.Allow{Methods: []string{"GET"}}, Amplification: 1, MaxInFlight: 1000, MaxQueued: queued, MaxQueuedBytes: 1 << 30,
		Lag: lag, MaxLate: maxLate, Instances: to, Sender: c, Observer: seen, Captured: book, Extra: metric.NewBook("extra"),
		Wait: pace.Precise, Now: time.Now,
	}
}

// backlog offers without end what is not due yet, as after a long stop of the shadow.
func backlog(ctx context.Context, _ options, t *table) error {
	const total, most, bytes = 1_000_000, 50_000, 64 << 20 // the defaults of max_queued and max_queued_bytes
	book := metric.NewBook("bench")
	o := replayOptions(target("127.0.0.1:1"), nil, &lags{}, book, most)
	o.MaxQueuedBytes = bytes
	r := replay.New(o)
	before := heap()
	for i := range total {
		req, err := request("s"+strconv.Itoa(i), "/items/"+strconv.Itoa(i), time.Now())
		if err != nil {
			return err
		}
		book.See(1)
		r.Offer(req)
	}
	grown := heap() - before
	l := book.Ledger()
	runtime.KeepAlive(r)
	t.check(grown <= bytes && l.Balanced(), "memory with a backlog of 1,000,000 requests", "max_queued_bytes, 64 MiB", "%.1f MiB; %d wait, %d dropped",
		float64(grown)/(1<<20), l.Pending, l.Dropped[replay.QueueFull])
	return ctx.Err()
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func request(session, path string, arrive time.Time) (*captured.Request, error) {
	return captured.Parse(&foreshadowv1.CapturedRequest{
		Workload: "bench", Session: session, ArriveTime: timestamppb.New(arrive), Method: "GET", Target: path, Host: "shop.example",
		Headers:  []*foreshadowv1.Header{{Name: "Accept", Value: "text/html"}, {Name: "User-Agent", Value: "Mozilla/5.0"}},
		Protocol: "HTTP/1.1", Weight: 1, BodyDisposition: foreshadowv1.BodyDisposition_BODY_DISPOSITION_NONE,
		Stratum: &foreshadowv1.Stratum{Route: "GET /", Geography: "unknown", Device: "desktop", Network: "unknown"},
	})
}

type target string

// Pick is always the one server.
func (a target) Pick() (platform.Instance, func(), string) {
	return platform.Instance{Address: string(a)}, func() {}, ""
}

// lags notes how late requests are sent.
type lags struct {
	mu   sync.Mutex
	list []time.Duration
}

// Sent notes one.
func (l *lags) Sent(_ traffic.Stratum, _ uint64, lag time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, lag)
}

// Answered is not looked at.
func (*lags) Answered(traffic.Stratum, uint64, time.Duration, bool) {}

// cpu is what this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // it cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
