package stratum_test

import (
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// TestWhatIsLearntHoldsNoRequest: the strings of a request are parts of one copy of its head, so that a word that is remembered as it
// came would keep all of that, tokens and all, for as long as the process lives. It is not parallel, for it looks at the heap.
func TestWhatIsLearntHoldsNoRequest(t *testing.T) {
	const requests, size = 120, 1 << 20
	classifier := newClassifier(t, bounds(10, func(tap *workload.Tap) { tap.GeographyHeader, tap.MaxWords = "X-Country", 10 }))
	var kept []traffic.Stratum // as counters and samples keep them
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for i := range requests {
		// Each comes twice: words at first, and slugs once there are too many of them.
		first, second := string(rune('A'+i/2/26)), string(rune('A'+i/2%26))
		head := "/word" + strings.ToLower(first+second) + first + second + strings.Repeat("x", size)
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: head[:7]}, Header: http.Header{"X-Country": {head[7:9]}}}
		kept = append(kept, classifier.Classify(r, ""))
	}
	if grown := heap() - before; grown > requests*size/10 {
		t.Errorf("%d MiB are held by %d requests of 1 MiB that are over", grown>>20, requests)
	}
	runtime.KeepAlive(classifier)
	runtime.KeepAlive(kept)
}
