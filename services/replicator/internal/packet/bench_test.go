package packet

import (
	"strconv"
	"testing"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// BenchmarkRequest reads small GETs and their answers from packets, and copies one session in ten.
func BenchmarkRequest(b *testing.B) {
	const requests = 1000
	w := newWire()
	for i := range 10 {
		c := w.dial(40000 + i)
		for range requests / 10 {
			c.ask("GET /items/42?q=blue HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (Windows NT 10.0) Chrome/120.0\r\n" +
				"Accept: text/html\r\nCookie: sid=" + strconv.Itoa(i) + "\r\n\r\n").answer(ok)
			c.send(true, nil, nil)
		}
		c.hangUp()
	}
	b.ReportAllocs()
	for b.Loop() {
		r := newRig(b, nil)
		set := workload.Default()
		set.Name, set.Tap.SampleRatio, set.Tap.SampleKey, set.Tap.SessionCookie = "shop", 0.1, "k", "sid"
		if err := r.tap.Reload(tap.Config{Workload: set, Publisher: r.copies, Accumulator: r.acc}); err != nil {
			b.Fatal(err)
		}
		d := r.decoder()
		for i, p := range w.packets {
			r.source.packet(d, p, captureInfo(w.times[i], len(p)))
		}
		r.source.table.close(w.at)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/requests, "ns/request")
}
