package tap_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/workload"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/replicator/internal/observe"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// nowhere takes copies and forgets them.
type nowhere struct{}

func (nowhere) PublishEvent(kafka.Event[*foreshadowv1.CapturedRequest]) bool { return true }
func (nowhere) Ledger() kafka.Ledger                                         { return kafka.Ledger{} }

// BenchmarkRequest is what the tap costs a request, without its way to the broker, by the share of sessions that are copied
// and by how many answers per second are described.
func BenchmarkRequest(b *testing.B) {
	body := []byte(`{"items":[` + strings.Repeat(`{"id":7,"name":"A thing to be bought","price":{"amount":12.5,"currency":"EUR"}},`, 12) + `null]}`)
	head := tap.AnswerHead{Status: 200, ContentType: "application/json", Length: int64(len(body))}
	for _, c := range []struct{ ratio, described float64 }{{0, 10}, {0.1, 10}, {1, 0}, {1, 10}, {1, 1e9}} {
		ratio := c.ratio
		b.Run(fmt.Sprint(ratio, "/", c.described), func(b *testing.B) {
			w := workload.Default()
			w.Name, w.SLO.Latency = "shop", time.Second
			w.Tap.SampleRatio, w.Tap.SampleKey, w.Tap.SessionCookie = ratio, "key", "sid"
			w.Tap.AnswerShapes = c.described
			t, err := tap.New(tap.Config{Workload: w, Publisher: nowhere{}, Accumulator: observe.NewAccumulator(time.Now)})
			if err != nil {
				b.Fatal(err)
			}
			requests := make([]*http.Request, 2000)
			for i := range requests {
				r := httptest.NewRequest(http.MethodGet, "/items/42?q=blue", nil)
				r.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36")
				r.Header.Set("Accept", "text/html")
				r.Header.Set("Cookie", fmt.Sprint("sid=", i))
				requests[i] = r
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				x := t.Begin(requests[i%len(requests)], time.Now())
				if x.Sampled() {
					if w := x.Answer(head); w != nil {
						_, _ = w.Write(body)
					}
				}
				x.End(tap.Result{Status: 200, BodyRead: true, RequestBytes: 300, ResponseBytes: 1200, ResponseBodyBytes: 1024, Latency: time.Millisecond})
			}
		})
	}
}
