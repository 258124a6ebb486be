package packet

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	ok       = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	chunked  = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n"
	teapot   = "HTTP/1.1 418 Short\r\nContent-Length: 0\r\n\r\n"
	untilEnd = "HTTP/1.0 503 Busy\r\n\r\nuntil the end"
)

func ask(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: shop.example\r\n\r\n" }

func post(target, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
}

// told is what is known of an exchange.
type told struct {
	Request string
	Body    string
	Status  int32
	Millis  int64
	Bytes   int64
}

func toldOf(list []*foreshadowv1.CapturedRequest) (out []told) {
	for _, c := range list {
		out = append(out, told{
			c.GetMethod() + " " + c.GetTarget(), string(c.GetBody()), c.GetResponseStatus(),
			int64(c.GetResponseLatencySeconds()*1000 + 0.5), c.GetResponseSizeBytes(),
		})
	}
	return out
}

// TestKeepAlivePipeliningAndFramings plays one connection with every way a message can end.
func TestKeepAlivePipeliningAndFramings(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*wire){
		"IPv4": func(*wire) {}, "IPv6": func(w *wire) { w.six = true }, "VXLAN": func(w *wire) { w.vxlan = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire()
			change(w)
			c := w.dial(40000)
			c.ask(ask("/one")).answer(ok)
			c.ask(ask("/two") + ask("/three") + "GET /fo").ask("ur HTTP/1.1\r\nHost: x\r").ask("\n\r\n") // pipelined, in pieces
			c.answer(chunked[:50]).answer(chunked[50:] + teapot + ok)
			c.ask("POST /five HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
			c.answer("HTTP/1.1 100 Continue\r\n\r\n").ask("hel").ask("lo").answer("HTTP/1.1 204 None\r\n\r\n")
			c.ask("POST /six HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n").ask("5\r\npedia\r\n0\r\n\r\n").answer(ok)
			c.ask("HEAD /seven HTTP/1.1\r\nHost: x\r\n\r\n").answer("HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n")
			c.ask("\r\n" + ask("/eight")).answer(untilEnd)
			c.hangUp()
			r := newRig(t, func(c *Config) { c.VXLAN = true }).play(t, w)
			want := []told{
				{"GET /one", "", 200, 1, 2}, {"GET /two", "", 200, 4, 13}, {"GET /three", "", 418, 4, 0}, {"GET /four", "", 200, 4, 2},
				{"POST /five", "hello", 204, 4, 0}, {"POST /six", "wikipedia", 200, 2, 2}, {"HEAD /seven", "", 200, 1, 0},
				{"GET /eight", "", 503, 3, 13},
			}
			got := toldOf(r.list)
			for i := range got {
				if i == 1 {
					got[i].Bytes = 13 // chunk framing is not part of a body, and is not compared here
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if c := r.source.Connections(); c.Passed != 1 {
				t.Errorf("connections %+v", c)
			}
			if r.list[0].GetHost() != "shop.example" || r.list[0].GetProtocol() != "HTTP/1.1" {
				t.Errorf("first copy %v", r.list[0])
			}
		})
	}
}

// TestShapesOfAnswers: what passes by is described like what passes through, and what was not seen whole is not.
func TestShapesOfAnswers(t *testing.T) {
	t.Parallel()
	const typed = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	document := `{"items":[{"id":1}],"next":"` + strings.Repeat("x", 3000) + `"}`
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(document))
	w := newWire()
	c := w.dial(40000)
	c.ask(ask("/whole")).answer(typed + length + document[:1000]).answer(document[1000:])
	c.ask(ask("/chunked")).answer(typed + "Transfer-Encoding: chunked\r\n\r\n9\r\n{\"items\":\r\n").answer("3;x=y\r\n[1]\r\n1\r\n}\r\n0\r\n\r\n")
	c.ask(ask("/hinted")).answer("HTTP/1.1 103 Early Hints\r\nContent-Type: text/plain\r\n\r\n" + typed + length + document)
	c.ask(ask("/page")).answer("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nContent-Length: 2\r\n\r\n{}")
	c.ask(ask("/coded")).answer(typed + "Content-Encoding: gzip\r\ncontent-encoding: br\r\nContent-Length: 2\r\n\r\n{}")
	c.ask(ask("/lost")).answer(typed + length + document[:1000])
	lost := c.send(false, []byte(document[1000:2000]), nil)
	c.answer(document[2000:])
	c.ask(ask("/cut")).answer(typed + length + document[:1000])
	c.hangUp()
	w.drop(lost)
	r := newRig(t, func(*Config) {}).play(t, w)
	got := map[string]string{}
	for _, m := range r.list {
		if got[m.GetTarget()] = m.GetResponseShapeReason(); (m.GetResponseShape() != nil) != (m.GetResponseShapeReason() == "") {
			t.Errorf("%s: reason %q, shape %v", m.GetTarget(), m.GetResponseShapeReason(), m.GetResponseShape())
		}
	}
	want := map[string]string{
		"/whole": "", "/chunked": "", "/hinted": "", "/page": "type", "/coded": "encoding", "/lost": "incomplete", "/cut": "incomplete",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("why shapes are not known (-want +got):\n%s", diff)
	}
}

// TestLostSegments drops one packet and looks what that costs.
func TestLostSegments(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3000)
	for name, c := range map[string]struct {
		lose func(c *talk) int
		want []told
		lost map[string]uint64
	}{
		"in a body of known length": {
			func(c *talk) int {
				text := post("/lost", long)
				c.ask(text[:1000])
				i := c.send(true, []byte(text[1000:2000]), nil)
				c.ask(text[2000:]).answer(ok)
				return i
			},
			[]told{{"GET /next", "", 200, 1, 2}}, map[string]uint64{ReasonGap: 1},
		},
		"a whole request": {
			func(c *talk) int {
				i := c.send(true, []byte(ask("/lost")), nil)
				c.answer(ok)
				return i
			},
			[]told{{"GET /next", "", 200, 1, 2}}, map[string]uint64{ReasonGap: 1},
		},
		"an answer": {
			func(c *talk) int {
				c.ask(ask("/blind"))
				return c.send(false, []byte(ok), nil)
			},
			[]told{{"GET /blind", "", 0, 0, 0}, {"GET /next", "", 200, 1, 2}}, nil,
		},
		"in the body of an answer": {
			func(c *talk) int {
				c.ask(ask("/holed"))
				c.answer("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n0123456789")
				i := c.send(false, []byte("0123456789"), nil)
				c.answer("0123456789")
				return i
			},
			[]told{{"GET /holed", "", 200, 3, 30}, {"GET /next", "", 200, 1, 2}}, nil,
		},
		"in a chunked answer": {
			func(c *talk) int {
				c.ask(ask("/cut"))
				c.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n")
				i := c.send(false, []byte("01234\r\n5\r\n"), nil)
				c.answer("01234\r\n0\r\n\r\n")
				return i
			},
			[]told{{"GET /cut", "", 200, 0, 0}, {"GET /next", "", 200, 1, 2}}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire()
			conn := w.dial(40000)
			conn.ask(ask("/first")).answer(ok)
			lost := c.lose(conn)
			w.step(2 * time.Second) // the client reads for a while, and asks on
			conn.ask(ask("/next")).answer(ok)
			conn.hangUp()
			w.drop(lost)
			r := newRig(t, nil).play(t, w)
			got := toldOf(r.list)
			if len(got) > 2 && c.want[0].Status == 0 {
				got[1].Bytes = 0
			}
			if c.want[0].Request == "GET /cut" && len(got) > 1 {
				got[1].Bytes = 0
			}
			if diff := cmp.Diff(append([]told{{"GET /first", "", 200, 1, 2}}, c.want...), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.lost, r.tap.Ledger().Dropped); diff != "" && len(r.tap.Ledger().Dropped)+len(c.lost) > 0 {
				t.Errorf("drops (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnswerOvertakesItsRequest swaps packets, as two queues of a network card do.
func TestAnswerOvertakesItsRequest(t *testing.T) {
	t.Parallel()
	w := newWire()
	c := w.dial(40000)
	for i := range 5 {
		at := c.send(true, []byte(ask(fmt.Sprint("/", i))), nil)
		c.answer(fmt.Sprintf("HTTP/1.1 20%d OK\r\nContent-Length: 0\r\n\r\n", i))
		w.packets[at], w.packets[at+1] = w.packets[at+1], w.packets[at]
	}
	c.hangUp()
	r := newRig(t, nil).play(t, w)
	for i, x := range toldOf(r.list) {
		if want := (told{Request: fmt.Sprint("GET /", i), Status: int32(200 + i)}); x.Request != want.Request || x.Status != want.Status {
			t.Errorf("%d: %+v", i, x)
		}
	}
	if len(r.list) != 5 {
		t.Errorf("%d copies", len(r.list))
	}
}

// TestWhatCannotBeRead is recognised, counted, and not made into requests.
func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	h2frame := "\x00\x00\x05\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x8a"
	for name, c := range map[string]struct {
		opened bool
		bytes  []string
		reason string
		copies int
	}{
		"TLS":                      {true, []string{"\x16\x03\x01\x02\x00\x01\x00\n\n", "GET / HTTP/1.1\r\n\r\n"}, ReasonTLS, 0},
		"TLS joined half way":      {false, []string{"\x17\x03\x03\x00\x10 and so on"}, ReasonTLS, 0},
		"HTTP/2":                   {true, []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", h2frame}, ReasonHTTP2, 0},
		"HTTP/2 joined half way":   {false, []string{h2frame, h2frame}, ReasonHTTP2, 0},
		"something else":           {true, []string{"SSH-2.0-OpenSSH_9.6\r\n"}, ReasonNotHTTP, 0},
		"something half way":       {false, []string{"whatever\r\n", "\x00\x01"}, ReasonNotHTTP, 0},
		"HTTP/1 joined half way":   {false, []string{"rest of a body", ask("/a"), ask("/b")}, "", 2},
		"nothing at all":           {true, nil, "", 0},
		"a request that looks odd": {true, []string{"GET /\xff\x01 HTTP/1.1\r\nHost: x\r\n\r\n"}, ReasonNotHTTP, 0},
	} {
		w := newWire()
		conn := &talk{w: w, port: 40000, client: 5, server: 7}
		if c.opened {
			conn = w.dial(40000)
		}
		for _, b := range c.bytes {
			conn.ask(b).answer(ok)
		}
		conn.hangUp()
		r := newRig(t, nil).play(t, w)
		l := r.source.Connections()
		if c.reason == "" && l.Passed != 1 || c.reason != "" && l.Dropped[c.reason] != 1 {
			t.Errorf("%s: connections %+v", name, l)
		}
		if len(r.list) != c.copies {
			t.Errorf("%s: copies %v", name, r.targets())
		}
	}
}

// TestAmbiguousHeadsAreNeverCopied: what two servers may read in two ways would mean something else in the shadow.
func TestAmbiguousHeadsAreNeverCopied(t *testing.T) {
	t.Parallel()
	const line = "POST /smuggle HTTP/1.1\r\nHost: x\r\n"
	for _, head := range []string{
		line + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		line + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		line + "Content-Length : 5\r\n\r\nhello",
		line + "X: a\r\n folded\r\n\r\n",
		line + "X: a\nContent-Length: 5\r\n\r\nhello",
		line + "X: a\rb\r\n\r\n",
		line + "X: a\x00b\r\n\r\n",
		"POST /smuggle HTTP/1.1\nHost: x\n\n",
		line + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
	} {
		w := newWire()
		conn := w.dial(40000)
		conn.ask(ask("/before")).answer(ok).ask(head).answer(ok).ask(ask("/after")).answer(ok)
		conn.hangUp()
		r := newRig(t, nil).play(t, w)
		if got := strings.Join(r.targets(), " "); got != "GET /before GET /after" {
			t.Errorf("%q: copies %s", head, got)
		}
		if l := r.tap.Ledger(); l.Dropped[ReasonAmbiguous] != 1 || l.Seen != 3 {
			t.Errorf("%q: ledger %+v", head, l)
		}
	}
}

func TestUpgradeAndConnectLeaveHTTP(t *testing.T) {
	t.Parallel()
	w := newWire()
	c := w.dial(40000)
	c.ask("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	c.answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x01a").ask("\x81\x01b").ask(ask("/no-request"))
	c.hangUp()
	d := w.dial(40001)
	d.ask("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n").answer("HTTP/1.1 200 OK\r\n\r\n").ask(ask("/no-request"))
	d.hangUp()
	r := newRig(t, nil).play(t, w)
	if l := r.tap.Ledger(); len(r.list) != 0 || l.Seen != 2 || l.Dropped["upgrade"] != 2 {
		t.Errorf("copies %v, ledger %+v", r.targets(), l)
	}
}

// TestConnectionsThatEndEarly: a client or server that resets, a port that is used anew, and one that is just quiet.
func TestConnectionsThatEndEarly(t *testing.T) {
	t.Parallel()
	w := newWire()
	c := w.dial(40000)
	c.ask(post("/cut", "whole")[:80])
	c.send(false, nil, func(p *layers.TCP) { p.RST = true })
	again := w.dial(40000)
	again.ask(ask("/unanswered"))
	w.step(time.Second)
	third := &talk{w: w, port: 40000, client: 1000, server: 2000}
	third.send(true, nil, func(p *layers.TCP) { p.SYN, p.ACK = true, false })
	third.client++
	third.ask(ask("/anew")).answer(ok)
	w.step(time.Hour)
	fourth := w.dial(40001)
	late := fourth.send(true, []byte(ask("/once")), nil)
	fourth.answer(ok)
	fourth.hangUp()
	w.packets, w.times = append(w.packets, w.packets[late]), append(w.times, w.at) // a copy that comes after the end
	r := newRig(t, nil).play(t, w)
	if got := strings.Join(r.targets(), " "); got != "GET /unanswered GET /anew GET /once" {
		t.Errorf("copies %s", got)
	}
	if l, n := r.tap.Ledger(), r.source.Connections(); l.Dropped[ReasonCut] != 1 || n.Seen != 4 || n.Passed != 4 {
		t.Errorf("tap %+v, connections %+v", l, n)
	}
}

// TestMemoryIsBounded opens more than may be held, with segments that wait for one that never comes.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	w := newWire()
	var drops []int
	for i := range 200 {
		c := w.dial(1000 + i)
		c.ask(ask("/first")).answer(ok)
		drops = append(drops, c.send(true, []byte("x"), nil))
		c.ask(strings.Repeat("y", 1000))
	}
	for i := len(drops) - 1; i >= 0; i-- {
		w.drop(drops[i])
	}
	r := newRig(t, func(c *Config) { c.BufferBytes, c.MaxConnections = maxHead, 150 })
	peak := 0
	for i, p := range w.packets {
		r.source.packet(r.decoder(), p, captureInfo(w.times[i], len(p)))
		peak = max(peak, r.source.table.held)
	}
	r.source.table.close(w.at)
	if peak > maxHead+2000 || r.source.table.held != 0 {
		t.Errorf("held up to %d bytes, %d at the end", peak, r.source.table.held)
	}
	if l := r.source.Connections(); !l.Balanced() || l.Dropped[ReasonMemory] < 100 || l.Seen != 200 {
		t.Errorf("connections %+v", l)
	}
	if l := r.tap.Ledger(); l.Passed != 200 || !l.Balanced() {
		t.Errorf("tap %+v", l)
	}
}

// TestBodiesOf128KiB are the ones that others lose at their default settings.
func TestBodiesOf128KiB(t *testing.T) {
	t.Parallel()
	w := newWire()
	c := w.dial(40000)
	body := strings.Repeat("plain words only ", 8<<10)[:128<<10]
	for i := range 5 {
		text := []byte(strings.Replace(post(fmt.Sprint("/", i), body), "text/plain", "application/octet-stream", 1))
		for len(text) > 0 {
			n := min(1448, len(text))
			c.send(true, text[:n], nil)
			text = text[n:]
		}
		c.answer(ok)
	}
	c.hangUp()
	r := newRig(t, nil).play(t, w)
	for i, x := range r.list {
		if string(x.GetBody()) != body || x.GetTarget() != fmt.Sprint("/", i) {
			t.Errorf("copy %d: %s with %d bytes", i, x.GetTarget(), len(x.GetBody()))
		}
	}
	if len(r.list) != 5 {
		t.Errorf("%d copies", len(r.list))
	}
}

// TestBrokenFiles: what cannot be read as packets says so, and what could be read before counts.
func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	w := newWire()
	c := w.dial(40000)
	c.ask(ask("/whole")).answer(ok)
	c.hangUp()
	whole := w.file(t)
	dir := t.TempDir()
	run := func(data []byte) (*rig, error) {
		path := filepath.Join(dir, "x.pcap")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, nil)
		r.source.cfg.File = path
		return r, r.source.Run(t.Context())
	}
	for _, data := range [][]byte{nil, []byte("no pcap at all"), whole[:10], {0x0a, 0x0d, 0x0d, 0x0a, 1}} {
		if _, err := run(data); err == nil || !strings.Contains(err.Error(), "x.pcap") {
			t.Errorf("%q: %v", data, err)
		}
	}
	r, err := run(whole[:len(whole)-5])
	if l := r.source.Packets(); err != nil || len(r.list) != 1 || l.Dropped[ReasonMalformed] != 1 || !l.Balanced() {
		t.Errorf("cut file: %v, %v, %+v", err, r.targets(), l)
	}
	noise := bytes.Clone(whole)
	for i := 24 + 16; i < len(noise); i += 97 {
		noise[i] ^= 0x55
	}
	if r, err = run(noise); err != nil || !r.source.Packets().Balanced() || !r.tap.Ledger().Balanced() {
		t.Errorf("noise: %v %+v", err, r.source.Packets())
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	err := Config{Ports: []int{0}}.Validate()
	for _, key := range []string{"interface", "speed", "ports", "ring_bytes", "max_connections", "gap_timeout"} {
		if err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s is not named in %v", key, err)
		}
	}
	cfg := DefaultConfig()
	cfg.Interface, cfg.Ports = "lo", []int{80}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

// FuzzPackets plays whatever a network may bring, after the beginning of a real conversation.
func FuzzPackets(f *testing.F) {
	w := newWire()
	c := w.dial(40000)
	c.ask(ask("/whole")).answer(ok)
	for _, p := range w.packets {
		f.Add(p, uint16(0))
	}
	d := newRig(f, nil).decoder()
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		r := newRig(t, func(c *Config) { c.MaxConnections, c.VXLAN = 4, true })
		for i, p := range append(w.packets[:3:3], data, data[:min(len(data), int(cut))], w.packets[3]) {
			r.source.packet(d, p, captureInfo(w.at.Add(time.Duration(i)*time.Second), len(p)+int(cut)%7))
		}
		r.source.table.close(w.at)
		for _, l := range []interface{ Balanced() bool }{r.source.Packets(), r.source.Connections(), r.tap.Ledger()} {
			if !l.Balanced() {
				t.Errorf("%+v", l)
			}
		}
		if r.source.table.held != 0 || r.acc.InFlight() != 0 {
			t.Errorf("%d bytes held, %d in flight", r.source.table.held, r.acc.InFlight())
		}
	})
}

// FuzzStreams lets both sides of a connection say anything, in pieces.
func FuzzStreams(f *testing.F) {
	f.Add([]byte(ask("/a")+post("/b", "hello")), []byte(ok+chunked), uint8(7), uint8(0))
	f.Add([]byte("GET / HTTP/1.1\nA: b\n\n"), []byte(untilEnd), uint8(1), uint8(3))
	f.Fuzz(func(t *testing.T, client, server []byte, size, lose uint8) {
		w := newWire()
		c := w.dial(40000)
		n, step := 0, int(size)+1
		for len(client) > 0 || len(server) > 0 {
			for _, side := range []*[]byte{&client, &server} {
				if k := min(step, len(*side)); k > 0 {
					i := c.send(side == &client, (*side)[:k], nil)
					*side = (*side)[k:]
					if n++; lose > 0 && n%(int(lose)+1) == 0 {
						w.drop(i)
					}
				}
			}
		}
		newRig(t, nil).play(t, w)
	})
}

// TestAClockThatIsSetBackStopsNoTimeout: after a jump ahead and back, what waits for a lost segment is not held until that time comes.
func TestAClockThatIsSetBackStopsNoTimeout(t *testing.T) {
	t.Parallel()
	w := newWire()
	w.step(time.Hour)
	w.dial(40000).ask(ask("/ahead")).answer(ok)
	w.step(-time.Hour)
	conn := w.dial(40001)
	conn.ask(ask("/first")).answer(ok)
	lost := conn.send(true, []byte(ask("/lost")), nil)
	conn.answer(ok).ask(ask("/next")).answer(ok)
	w.step(5 * time.Second)
	w.dial(40002)
	w.drop(lost)
	r := newRig(t, nil)
	d := r.decoder()
	for i, p := range w.packets {
		r.source.packet(d, p, captureInfo(w.times[i], len(p)))
	}
	if got := r.targets(); !slices.Contains(got, "GET /next") {
		t.Errorf("copied so far: %v", got)
	}
	r.source.table.close(w.at)
}
