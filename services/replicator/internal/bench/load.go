package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// few connections are what an open loop needs, many what makes a closed one busy.
	few  = 16
	many = 64
	// sessions take turns; their number makes the sample's share of them what was asked for.
	sessions = 2000
)

// loadResult is what a load saw.
type loadResult struct {
	done, failed int
	took         time.Duration
	micros       []float64 // from sending to the end of the answer
}

func (r loadResult) quantile(q float64) float64 {
	if len(r.micros) == 0 {
		return 0
	}
	slices.Sort(r.micros)
	return r.micros[min(len(r.micros)-1, int(q*float64(len(r.micros))))]
}

// openLoop sends at a rate, whatever comes back. What a server was too slow to be sent in time is missing in what was done.
func openLoop(address string, rate float64, length time.Duration) loadResult {
	n := int64(rate * length.Seconds())
	begun := time.Now()
	var next atomic.Int64
	r := load(address, few, func() bool {
		k := next.Add(1) - 1
		if k >= n || time.Since(begun) > length {
			return false
		}
		// Anywhere in its stretch, or two loads would meet at the same instants for the whole length of a round, or never.
		pause(time.Until(begun.Add(time.Duration((float64(k) + rand.Float64()) / rate * float64(time.Second)))))
		return true
	}, get)
	r.took = max(r.took, length) // the last one leaves a little before the end
	return r
}

// closedLoop sends as fast as answers come.
func closedLoop(address string, length time.Duration) loadResult {
	deadline := time.Now().Add(length)
	return load(address, many, func() bool { return time.Now().Before(deadline) }, get)
}

// get is one of many sessions' requests.
func get(session int) string {
	return "GET /items/42?q=blue HTTP/1.1\r\nHost: shop.example\r\n" +
		"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36\r\n" +
		"Accept: text/html\r\nCookie: sid=" + strconv.Itoa(session) + "\r\n\r\n"
}

var bigBody = strings.Repeat("0123456789abcdef", 8<<10)

func post(session int) string {
	return fmt.Sprintf("POST /items/%d HTTP/1.1\r\nHost: shop.example\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", session, len(bigBody), bigBody)
}

// load runs the connections until go on says no. Requests are made before, so that making them costs nothing.
func load(address string, connections int, goOn func() bool, make func(session int) string) loadResult {
	n := sessions
	if len(make(0)) > 1<<10 {
		n = 64
	}
	requests := [][]byte{}
	for i := range n {
		requests = append(requests, []byte(make(i)))
	}
	var mu sync.Mutex
	var sum loadResult
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range connections {
		wg.Go(func() {
			r := talk(address, goOn, requests, i*len(requests)/connections)
			mu.Lock()
			defer mu.Unlock()
			sum.done += r.done
			sum.failed += r.failed
			sum.micros = append(sum.micros, r.micros...)
		})
	}
	wg.Wait()
	sum.took = time.Since(begun)
	return sum
}

// talk is one keep-alive connection.
func talk(address string, goOn func() bool, requests [][]byte, from int) (r loadResult) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return loadResult{failed: 1}
	}
	defer conn.Close()
	br := bufio.NewReaderSize(conn, 16<<10)
	for i := from; goOn(); i++ {
		sent := time.Now()
		if _, err := conn.Write(requests[i%len(requests)]); err != nil {
			r.failed++
			return r
		}
		if err := readAnswer(br); err != nil {
			r.failed++
			return r
		}
		r.done++
		r.micros = append(r.micros, float64(time.Since(sent).Nanoseconds())/1e3)
	}
	return r
}

// readAnswer reads a 200 with a Content-Length, and is cheap.
func readAnswer(br *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first:
			if len(line) < 12 || string(line[9:12]) != "200" {
				return fmt.Errorf("answer %q", line)
			}
		case len(line) <= 2:
			if length < 0 {
				return fmt.Errorf("answer without a length")
			}
			_, err := br.Discard(length)
			return err
		case len(line) > 16 && strings.EqualFold(string(line[:15]), "content-length:"):
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[15:]))); err != nil {
				return err
			}
		}
	}
}
