package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
)

func validMeta() Meta {
	return Meta{
		ID: EventID("p", 7), Type: "foreshadow.v1.Thing", Source: "/replicator/shop",
		Time: time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC), ProducerID: "p", Sequence: 7,
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	t.Parallel()
	want := validMeta()
	got, err := parseMeta(append(want.headers(), kafkago.Header{Key: "somebody-elses", Value: []byte{0}}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("envelope (-written +read):\n%s", diff)
	}
	if want.ID != "p/7" {
		t.Errorf("event id %s", want.ID)
	}
}

// TestHeaderNames pins what producers and consumers in other languages rely on.
func TestHeaderNames(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, h := range validMeta().headers() {
		got[h.Key] = string(h.Value)
	}
	want := map[string]string{
		"ce_specversion": "1.0", "ce_id": "p/7", "ce_type": "foreshadow.v1.Thing", "ce_source": "/replicator/shop",
		"ce_time": "2026-03-01T12:00:00.000000005Z", "content-type": "application/protobuf",
		"producer_id": "p", "sequence": "7", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestParseMetaNamesTheHeader(t *testing.T) {
	t.Parallel()
	set := func(key, value string) func([]kafkago.Header) []kafkago.Header {
		return func(hs []kafkago.Header) []kafkago.Header {
			for i := range hs {
				if hs[i].Key == key {
					hs[i].Value = []byte(value)
				}
			}
			return hs
		}
	}
	for name, tc := range map[string]struct {
		change func([]kafkago.Header) []kafkago.Header
		want   string
	}{
		"nothing":       {func([]kafkago.Header) []kafkago.Header { return nil }, "ce_specversion is missing"},
		"no id":         {set(headerID, ""), "ce_id is missing"},
		"other version": {set(headerSpecVersion, "0.3"), `ce_specversion is "0.3"`},
		"json":          {set(headerContentType, "application/json"), `content-type is "application/json"`},
		"bad time":      {set(headerTime, "yesterday"), "want RFC 3339"},
		"bad sequence":  {set(headerSequence, "-1"), "sequence is"},
		"above bigint":  {set(headerSequence, "9223372036854775808"), "sequence is"},
		"NUL":           {set(headerSource, "a\x00b"), "ce_source: holds a control character"},
		"not UTF-8":     {set(headerType, "\xff"), "ce_type: is not UTF-8"},
		"long":          {set(headerProducerID, strings.Repeat("x", maxHeaderValue+1)), "producer_id: has 257 bytes"},
		"twice": {func(hs []kafkago.Header) []kafkago.Header {
			return append(hs, kafkago.Header{Key: headerID, Value: []byte("other")})
		}, "ce_id is given twice"},
	} {
		if _, err := parseMeta(tc.change(validMeta().headers())); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

// FuzzParseMeta: whatever a stranger writes, an envelope that is accepted can be written and read again as it is.
func FuzzParseMeta(f *testing.F) {
	for _, h := range validMeta().headers() {
		f.Add(h.Key, h.Value)
	}
	f.Add(headerTime, []byte("0000-01-01T00:00:00+23:59"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		headers := validMeta().headers()
		replaced := false
		for i := range headers {
			if headers[i].Key == key {
				headers[i].Value, replaced = value, true
			}
		}
		if !replaced {
			headers = append(headers, kafkago.Header{Key: key, Value: value})
		}
		meta, err := parseMeta(headers)
		if err != nil {
			return
		}
		again, err := parseMeta(meta.headers())
		if err != nil {
			t.Fatalf("accepted %q = %q, but not what is written of it: %v", key, value, err)
		}
		if diff := cmp.Diff(meta, again); diff != "" {
			t.Errorf("changed on the way (-first +second):\n%s", diff)
		}
	})
}
