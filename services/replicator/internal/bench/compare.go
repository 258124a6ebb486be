package main

import (
	"fmt"
	"sync"
	"time"
)

// Names of the variants.
const (
	tapOff      = "proxy, tap off"
	tapTenth    = "proxy, tap 10 %"
	tapAll      = "proxy, tap 100 %"
	brokerDead  = "proxy, broker dead"
	brokerHangs = "proxy, broker hangs"
	badBehind   = "proxy, shadow 100 ms slow, no database"
	plainNginx  = "nginx"
	nginxMirror = "nginx, mirror on"
	nginxPooled = "nginx, mirror on, its connections kept"
	nginxTapped = "nginx, mirror on, to Foreshadow's sink"
	nginxSlow   = "nginx, mirror on, sink 100 ms slow"
)

// figure is what was measured of one variant in one part of the run.
type figure struct {
	Part      string  `json:"part"`
	Variant   string  `json:"variant"`
	CPUMicros float64 `json:"cpu_us_per_request,omitempty"`
	P50Micros float64 `json:"p50_us,omitempty"`
	P99Micros float64 `json:"p99_us,omitempty"`
	PerSecond float64 `json:"requests_per_second,omitempty"`
	// Ratios are to the tap switched off.
	CPU        ratio   `json:"cpu_to_tap_off,omitzero"`
	P50        float64 `json:"p50_to_tap_off,omitempty"`
	Throughput ratio   `json:"throughput_to_tap_off,omitzero"`
	Errors     int     `json:"errors"`
}

// contest lets variants take turns.
type contest struct {
	part     string
	variants []*part
	cpu      samples
	p99      samples
	micros   latencies
	rate     samples
	errors   map[string]int
}

// turns loads one variant after another.
func (c *contest) turns(o options, load func(address string) loadResult) {
	c.begin()
	for round := range o.rounds + 1 { // one that does not count
		for i := range c.variants {
			v := c.variants[(i+round)%len(c.variants)]
			before := v.cpu()
			c.note(round, v, load(v.address), before)
		}
	}
}

// together loads all variants at the same time: whatever happens on the machine happens to all of them.
func (c *contest) together(o options, load func(address string) loadResult) {
	c.begin()
	for round := range o.rounds + 1 {
		before, results := make([]time.Duration, len(c.variants)), make([]loadResult, len(c.variants))
		var wg sync.WaitGroup
		for i, v := range c.variants {
			before[i] = v.cpu()
			wg.Go(func() { results[i] = load(v.address) })
		}
		wg.Wait()
		for i, v := range c.variants {
			c.note(round, v, results[i], before[i])
		}
	}
}

func (c *contest) begin() {
	c.cpu, c.p99, c.rate, c.micros, c.errors = samples{}, samples{}, samples{}, latencies{}, map[string]int{}
}

func (c *contest) note(round int, v *part, r loadResult, before time.Duration) {
	used := v.cpu() - before
	if round == 0 {
		return
	}
	c.errors[v.name] += r.failed
	c.cpu.add(v.name, float64(used.Nanoseconds())/1e3/float64(max(r.done, 1)))
	c.micros[v.name] = append(c.micros[v.name], r.micros)
	c.p99.add(v.name, r.quantile(0.99))
	c.rate.add(v.name, float64(r.done)/r.took.Seconds())
}

func (c *contest) figures() (out []figure) {
	for _, v := range c.variants {
		p50 := c.micros.p50(v.name)
		out = append(out, figure{
			Part: c.part, Variant: v.name, CPUMicros: c.cpu.median(v.name), P50Micros: p50, P99Micros: c.p99.median(v.name),
			PerSecond: c.rate.median(v.name), CPU: c.cpu.ratio(v.name, tapOff), P50: p50 / c.micros.p50(tapOff),
			Throughput: c.rate.ratio(v.name, tapOff), Errors: c.errors[v.name],
		})
	}
	return out
}

// add makes the part a variant.
func (c *contest) add(p *part, err error) error {
	if err == nil {
		c.variants = append(c.variants, p)
	}
	return err
}

// scene is what every contest needs: an application and a broker.
type scene struct {
	*stage
	application, broker *part
}

func newScene() (*scene, error) {
	s := &scene{stage: &stage{}}
	var err error
	if s.application, err = s.add(spawn("application", "-role", "page")); err == nil {
		s.broker, err = s.add(spawn("broker", "-role", "broker"))
	}
	return s, err
}

func (s *scene) proxy(name string, ratio float64, broker string) (*part, error) {
	return s.add(spawn(name, "-role", "proxy", "-target", s.application.address, "-ratio", fmt.Sprint(ratio), "-broker", broker))
}

func (s *scene) mirrored(name string, m mirroring) (*part, error) {
	return s.add(s.nginx(name, s.application.address, m))
}

const noNginx = "the comparison with nginx: there is none here (deployments/tools/nginx.sh installs it)"

// cost measures CPU time per request at a steady rate, far from saturation.
func cost(o options, all *results) error {
	s, err := newScene()
	defer s.stop()
	if err != nil {
		return err
	}
	c := &contest{part: "cost"}
	for _, v := range []struct {
		name  string
		ratio float64
	}{{tapOff, 0}, {tapTenth, 0.1}, {tapAll, 1}} {
		if err := c.add(s.proxy(v.name, v.ratio, s.broker.address)); err != nil {
			return err
		}
	}
	if findNginx() != "" {
		if err := c.add(s.mirrored(plainNginx, mirroring{})); err != nil {
			return err
		}
	}
	c.together(o, func(address string) loadResult { return openLoop(address, o.rate, o.length) })
	all.Figures = append(all.Figures, c.figures()...)
	all.atMost("CPU per request, tap on (10 %, the default) to tap off", c.cpu.ratio(tapTenth, tapOff), 1.3)
	all.tell("  the same, tap at 100 %", c.cpu.ratio(tapAll, tapOff))
	return nil
}

// throughput measures how much gets through.
func throughput(o options, all *results) error {
	s, err := newScene()
	defer s.stop()
	if err != nil {
		return err
	}
	c := &contest{part: "throughput"}
	for _, v := range []struct {
		name  string
		ratio float64
	}{{tapOff, 0}, {tapTenth, 0.1}, {tapAll, 1}} {
		if err := c.add(s.proxy(v.name, v.ratio, s.broker.address)); err != nil {
			return err
		}
	}
	if findNginx() == "" {
		all.Skipped = append(all.Skipped, noNginx)
	} else if err := s.addNginx(c); err != nil {
		return err
	}
	c.turns(o, func(address string) loadResult { return closedLoop(address, o.length) })
	all.Figures = append(all.Figures, c.figures()...)
	if findNginx() != "" {
		all.atLeast("throughput, tap on to nginx with its mirror on", c.rate.ratio(tapTenth, nginxMirror), 2)
		all.atLeast("  the same, nginx told to keep its connections to the sink", c.rate.ratio(tapTenth, nginxPooled), 2)
		all.tell("  the same, to a sink that answers with nothing: Foreshadow's", c.rate.ratio(tapTenth, nginxTapped))
		all.tell("  nginx with its mirror on to nginx without", c.rate.ratio(nginxMirror, plainNginx))
		all.tell("  tap on to nginx without its mirror", c.rate.ratio(tapTenth, plainNginx))
		all.tell("  tap on to tap off", c.rate.ratio(tapTenth, tapOff))
	}
	return nil
}

// addNginx adds nginx without and with its mirror. The sink of the first two answers as an application does. nginx closes the
// connection when it has read the head of such an answer, kept alive or not; it keeps those to a sink that answers with
// nothing, as the replicator's does, which then does with the copies what the proxy does with them.
func (s *scene) addNginx(c *contest) error {
	sink, err := s.add(spawn("sink of nginx's mirror", "-role", "page"))
	if err != nil {
		return err
	}
	tapped, err := s.add(spawn("Foreshadow's sink", "-role", "proxy", "-mirror", "-ratio", "0.1", "-broker", s.broker.address))
	if err != nil {
		return err
	}
	for _, v := range []struct {
		name string
		m    mirroring
	}{
		{plainNginx, mirroring{}}, {nginxMirror, mirroring{sink: sink.address}}, {nginxPooled, mirroring{sink: sink.address, keepAlive: true}},
		{nginxTapped, mirroring{sink: tapped.address, keepAlive: true}},
	} {
		if err := c.add(s.mirrored(v.name, v.m)); err != nil {
			return err
		}
	}
	return nil
}

// slow is what the slow shadow, and the slow sink, take for an answer.
const slow = 100 * time.Millisecond

// harm measures what users notice when what is behind the tap fails.
func harm(o options, all *results) error {
	s, err := newScene()
	defer s.stop()
	if err != nil {
		return err
	}
	c := &contest{part: "harm"}
	if err := s.addBroken(c); err != nil {
		return err
	}
	// What is looked for is small.
	o.rounds, o.length = 4*o.rounds, o.length*3/2
	c.together(o, func(address string) loadResult { return openLoop(address, o.rate, o.length) })
	all.Figures = append(all.Figures, c.figures()...)
	for _, name := range []string{brokerDead, brokerHangs, badBehind} {
		all.atMost("p50, "+name+", to tap off", c.micros.ratio(name, tapOff), 1.02)
		all.atLeast("throughput, "+name+", to tap off", c.rate.ratio(name, tapOff), 0.98)
	}
	if findNginx() != "" {
		all.tell("  throughput of nginx with a mirror 100 ms slow to tap off", c.rate.ratio(nginxSlow, tapOff))
	}
	return nil
}

func (s *scene) addBroken(c *contest) error {
	hanging, err := s.add(spawn("broker that hangs", "-role", "broker"))
	if err != nil {
		return err
	}
	late, err := s.add(spawn("slow application", "-role", "page", "-delay", slow.String()))
	if err != nil {
		return err
	}
	if _, err := s.add(spawn("behind", "-role", "behind", "-target", late.address, "-broker", s.broker.address)); err != nil {
		return err
	}
	for _, v := range []struct {
		name, broker string
		ratio        float64
	}{{tapOff, s.broker.address, 0}, {brokerDead, "127.0.0.1:1", 0.1}, {brokerHangs, hanging.address, 0.1}, {badBehind, s.broker.address, 0.1}} {
		if err := c.add(s.proxy(v.name, v.ratio, v.broker)); err != nil {
			return err
		}
	}
	if err := hanging.freeze(); err != nil {
		return err
	}
	if findNginx() == "" {
		return nil
	}
	return c.add(s.mirrored(nginxSlow, mirroring{sink: late.address, keepAlive: true}))
}
