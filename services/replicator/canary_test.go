package replicator_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foreshadow/foreshadow/libs/embedded/embeddedtest"
	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/platform"
	"github.com/foreshadow/foreshadow/libs/telemetry"
	"github.com/foreshadow/foreshadow/libs/workload"
	aggregator "github.com/foreshadow/foreshadow/services/metrics-aggregator"
)

const canaries = 10000

// TestCanary plants secrets in every place that a request and its answer have, lets them pass the replicator, the broker, the aggregator and the
// database, and looks for them in every byte of the topics, of the logs, of the metrics and of the tables.
func TestCanary(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := start(t, options{log: logger, workload: func(w *workload.Workload) {
		w.Tap.AllowHeaders = append(w.Tap.AllowHeaders, "Referer", "X-Forwarded-For", "X-Comment")
		w.Tap.GeographyHeader, w.Tap.NetworkHeader = "X-Country", "X-Network"
		w.Tap.Rules = []workload.Rule{{Route: "/**", Methods: []string{"GET", "POST"}}}
		w.Tap.RedactPatterns = []string{`ssn-[0-9]+`}
		w.Tap.AnswerShapes = 1e6
	}})
	c := &planter{rng: rand.New(rand.NewPCG(7, 7)), answers: make(chan answer, 1)}
	instance := serve(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Set-Cookie", "sid="+req.URL.Path)
		(<-c.answers).write(w)
	})
	r.use(instance)
	database := embeddedtest.Postgres(t)
	metrics := startAggregator(t, r, database, logger)

	sent := c.plant(t, strings.TrimPrefix(r.url, "http://"))

	copies := r.captured()
	if len(c.secrets) < canaries || len(copies) < sent*9/10 {
		t.Fatalf("planted %d secrets in %d requests, of which %d were copied", len(c.secrets), sent, len(copies))
	}
	c.checkShapes(t, copies)
	page := metrics(len(r.records(kafka.TopicMetricsObserved)))
	where := map[string]string{"log": log.String(), "metrics of the replicator": r.metrics(), "metrics of the aggregator": page, "database": dump(t, database)}
	for _, topic := range kafka.DefaultTopics() {
		var all strings.Builder
		for _, rec := range r.records(topic.Name) {
			fmt.Fprintf(&all, "%s %v %s\n", rec.Key, rec.Meta, rec.Value)
		}
		where[topic.Name] = all.String()
		for _, rec := range r.records(topic.Name + ".dlq") {
			t.Errorf("%s: a record was set aside: %v", topic.Name, rec.Meta)
		}
	}
	if len(where["database"]) < 1000 || len(where[kafka.TopicTrafficCaptured]) < 100000 {
		t.Fatalf("looked at %d bytes of tables and %d of copies", len(where["database"]), len(where[kafka.TopicTrafficCaptured]))
	}
	for place, text := range where {
		for _, found := range c.find(text) {
			t.Errorf("%s: holds %s", place, found)
		}
	}
}

// startAggregator runs the aggregator on the rig's broker. What it returns waits until so many observations are merged, stops
// it, and gives its metrics.
func startAggregator(t *testing.T, r *rig, database string, log *slog.Logger) func(observations int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	registry := telemetry.NewRegistry()
	admin := telemetry.NewAdmin(registry)
	cfg := aggregator.DefaultConfig()
	cfg.Database = workload.Secret(database)
	service, err := aggregator.New(cfg, aggregator.Deps{
		Log: log, Registry: registry, Admin: admin, Kafka: r.kafka, Instances: nowhere{}, Listener: ln,
		Workloads: []workload.Workload{{Name: "shop", Production: workload.Target{Group: "shop-production"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("aggregator stopped with %v", err)
		}
	})
	t.Cleanup(stop)
	merged := func() (n uint64) {
		for _, l := range admin.Ledgers() {
			if l.Hop == "metrics-aggregator/observed" {
				n = l.Passed
			}
		}
		return n
	}
	return func(observations int) string {
		for deadline := time.After(60 * time.Second); merged() < uint64(observations); {
			select {
			case <-deadline:
				t.Fatalf("%d of %d observations merged", merged(), observations)
			case <-time.After(20 * time.Millisecond):
			}
		}
		rec := newRecorder()
		for _, path := range []string{"/metrics", "/ledger"} {
			admin.Handler().ServeHTTP(rec, mustRequest(path))
		}
		stop()
		return rec.body.String()
	}
}

// nowhere is a platform without instances.
type nowhere struct{}

func (nowhere) State(context.Context, string) (platform.State, error)   { return platform.State{}, nil }
func (nowhere) Usage(context.Context, string) ([]platform.Usage, error) { return nil, nil }

type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func newRecorder() *recorder                    { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
func mustRequest(path string) *http.Request {
	return &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: http.Header{}, Host: "admin"}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// dump returns all that the tables hold.
func dump(t *testing.T, database string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), "select tablename from pg_tables where schemaname = 'public'")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, table := range tables {
		rows, err := conn.Query(t.Context(), "select * from "+pgx.Identifier{table}.Sanitize())
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				if b, isBytes := v.([]byte); isBytes {
					v = string(b)
				}
				fmt.Fprintf(&all, "%v\t", v)
			}
			all.WriteByte('\n')
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// planter makes secrets, and the requests and answers that carry them.
type planter struct {
	rng     *rand.Rand
	secrets []secret
	// answers are those to the requests that are sent, and inAnswers how many secrets they hold.
	answers   chan answer
	inAnswers int
	// key was one in the answer before.
	key string
}

type secret struct{ place, value string }

const (
	digits  = "0123456789"
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

func (c *planter) random(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[c.rng.IntN(len(alphabet))]
	}
	return string(b)
}

// word is a secret without a shape: a password. It is planted only where a name says that it is one, or that it must go.
func (c *planter) word(place string) string {
	return c.keep(place, c.random("bcdfghklmnprstvwz", 1)+c.random("aeiou", 1)+c.random(letters+digits, 9))
}

// shaped is a secret that can be told from its shape, wherever it is.
func (c *planter) shaped(place string) string {
	var s string
	switch c.rng.IntN(8) {
	case 0:
		s = c.random(letters, 6) + "." + c.random(letters, 5) + "@" + strings.ToLower(c.random(letters, 7)) + ".example.com"
	case 1:
		s = c.random("0123456789abcdef", 32)
	case 2:
		s = "AKIA" + c.random("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)
	case 3:
		s = "ghp_" + c.random(letters+digits, 36)
	case 4:
		s = "eyJhbGciOiJIUzI1NiJ9." + c.random(letters+digits, 30) + "." + c.random(letters+digits+"-_", 43)
	case 5:
		s = c.card()
	case 6:
		s = "ssn-" + c.random(digits, 12)
	default:
		s = c.random(letters+digits, 24)
	}
	return c.keep(place, s)
}

// card passes Luhn's check.
func (c *planter) card() string {
	number := "4" + c.random(digits, 14)
	sum := 0
	for i := range number {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return number + string(rune('0'+(10-sum%10)%10))
}

func (c *planter) keep(place, value string) string {
	c.secrets = append(c.secrets, secret{place, value})
	return value
}

// percent escapes every byte, times over.
func percent(s string, times int) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	s = b.String()
	for range times - 1 {
		s = strings.ReplaceAll(s, "%", "%25")
	}
	return s
}

// plant sends requests over one connection until all secrets are planted, and returns how many.
func (c *planter) plant(t *testing.T, address string) int {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	in := bufio.NewReader(conn)
	sent := 0
	for ; len(c.secrets)-c.inAnswers < canaries; sent++ {
		raw := c.request(sent)
		before := len(c.secrets)
		c.answers <- c.answer(sent)
		c.inAnswers += len(c.secrets) - before
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%v to %q", err, raw)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v to %q", resp.StatusCode, err, raw)
		}
	}
	return sent
}

func (c *planter) request(i int) string {
	target := c.target(i)
	host := "shop.example"
	if i%7 == 0 {
		target = "http://" + c.word("user of the URL") + ":" + c.word("password of the URL") + "@" + host + target
	}
	if i%11 == 0 {
		host = strings.ToLower(c.keep("label of the host", c.random("abcdef"+digits, 32))) + "." + host
	}
	head := "Host: " + host + "\r\n" + c.headers(i)
	contentType, body := c.body(i)
	if body == "" {
		return "GET " + target + " HTTP/1.1\r\n" + head + "\r\n"
	}
	head += "Content-Type: " + contentType + "\r\n"
	if i%2 == 0 {
		return "POST " + target + " HTTP/1.1\r\n" + head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
	}
	trailer := "X-Trailer: " + c.word("trailer") + "\r\nAuthorization: " + c.word("trailer") + "\r\n"
	return "POST " + target + " HTTP/1.1\r\n" + head + "Trailer: X-Trailer, Authorization\r\nTransfer-Encoding: chunked\r\n\r\n" +
		fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n", len(body), body, trailer)
}

func (c *planter) target(i int) string {
	paths := []func() string{
		func() string { return "/u/" + c.shaped("path") + "/orders" },
		func() string { return "/u/" + percent(c.shaped("escaped path"), 1) },
		func() string { return "/u/" + percent(c.shaped("twice escaped path"), 2) },
		func() string { return "/u/" + percent(c.shaped("thrice escaped path"), 3) },
		func() string { return "/Reset/" + c.word("path after reset") },
		func() string { return "/api/tokens/" + c.word("path after tokens") + "/use" },
		func() string { return "/a;jsessionid=" + c.word("matrix parameter") + "/b" },
		func() string { return "/img/" + c.shaped("path before a file") + "/logo.png" },
		func() string { return "/a//" + c.shaped("path after two slashes") },
		func() string { return "/" + c.shaped("first segment") },
	}
	queries := []func() string{
		func() string { return "q=" + c.word("query value") + "&Q=" + c.word("query value") },
		func() string {
			return "q=" + percent(c.word("escaped query value"), 1) + "&q=" + percent(c.word("twice escaped query value"), 2)
		},
		func() string { return c.shaped("query name") + "=1" },
		func() string { return percent(c.shaped("escaped query name"), 1) + "=1" },
		func() string { return c.shaped("query without a name") },
		func() string {
			return "access_token=" + c.word("token in a query") + ";b=" + c.word("query behind a semicolon")
		},
		func() string { return "bad=%zz" + c.word("broken escape") + "&x=%ff%fe" + c.word("no UTF-8") },
		func() string { return "a[b][]=" + c.word("query in brackets") + "&=" + c.word("query of no name") },
		func() string { return "" },
	}
	target := paths[i%len(paths)]()
	if q := queries[i%len(queries)](); q != "" {
		target += "?" + q
	}
	return target
}

func (c *planter) headers(i int) string {
	basic := base64.StdEncoding.EncodeToString([]byte("bob:" + c.word("basic password")))
	lines := []string{
		"Cookie: sid=" + c.word("session cookie") + "; other=" + c.word("cookie"),
		"cOOKIE: more=" + c.word("second cookie"),
		"authorization: Bearer " + c.word("bearer"), "Authorization: Basic " + c.keep("basic header", basic),
		"Proxy-Authorization: " + c.word("proxy authorization"), "X-Api-Key: " + c.word("key header"), "X-Whatever: " + c.word("other header"),
		"User-Agent: Mozilla/5.0 (" + c.shaped("user agent") + ") App/" + c.shaped("user agent"),
		"Accept-Language: en-US", "Accept-Language: " + c.shaped("second line of an allowed header"),
		"X-Comment: call " + c.shaped("allowed header") + ", \"" + percent(c.shaped("escaped in a header"), 1) + "\"",
		"Referer: https://" + c.word("user of the referer") + ":" + c.word("password of the referer") + "@a.example/reset/" + c.word("path of the referer") +
			"?k=" + c.word("query of the referer") + "#" + c.word("fragment of the referer"),
		"X-Forwarded-For: " + fmt.Sprintf("203.0.%d.%d", i%256, 100+i%100) + ", " + c.word("no address"),
		"X-Country: " + c.word("country"), "X-Network: " + c.word("network"), "ECT: " + c.word("hint"),
		"Traceparent: " + c.word("no trace"), "Baggage: user=" + c.word("baggage"), "X-Session: " + c.word("session header"),
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

func (c *planter) body(i int) (contentType, body string) {
	switch i % 5 {
	case 0:
		return "application/x-www-form-urlencoded; x=" + c.word("parameter of the type"),
			"password=" + c.word("form value") + "&" + c.shaped("form name") + "=1&a=" + percent(c.word("escaped form value"), 2)
	case 1:
		inner, err := json.Marshal(map[string]any{
			"user":  map[string]any{"name": c.word("nested JSON"), "tags": []string{c.word("JSON array"), c.word("JSON array")}},
			"inner": `{"password":"` + c.word("JSON in JSON") + `"}`, c.shaped("JSON key"): c.word("JSON value"), "n": json.Number(c.keep("JSON number", c.card())),
		})
		if err != nil {
			panic(err)
		}
		escaped := ""
		for _, b := range []byte(c.word("escaped JSON")) {
			escaped += fmt.Sprintf(`\u%04x`, b)
		}
		return "Application/JSON; charset=utf-8",
			`{"a":"` + c.word("first of two JSON keys") + `","a":"` + c.word("second of two JSON keys") + `","e":"` + escaped + `","u":"` + "\xff" + c.word("no UTF-8 in JSON") + `","o":` + string(inner) + `}`
	case 2:
		boundary := c.keep("boundary", "x"+c.random(letters+digits, 24))
		return "multipart/form-data; boundary=" + boundary, c.word("preamble") + "\r\n--" + boundary + "\r\nContent-Disposition: form-data; name=\"password\"\r\nX-Part: " + c.word("header of a part") +
			"\r\n\r\n" + c.word("part") + "\r\n--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + c.shaped("name of a part") + "\"; filename=\"" + c.word("file name") + ".txt\"\r\n\r\n" +
			c.word("file") + "\r\n--" + boundary + "--\r\n" + c.word("epilogue")
	case 3:
		return "application/json", `{"broken":"` + c.word("broken JSON")
	}
	return "", ""
}

// find returns the secrets that a text holds, in whatever case.
func (c *planter) find(text string) []string {
	const prefix = 8
	text = strings.ToLower(text)
	by := map[string][]secret{}
	for _, s := range c.secrets {
		k := strings.ToLower(s.value)[:prefix]
		by[k] = append(by[k], s)
	}
	var found []string
	for i := 0; i+prefix <= len(text); i++ {
		for _, s := range by[text[i:i+prefix]] {
			if v := strings.ToLower(s.value); strings.HasPrefix(text[i:], v) {
				found = append(found, fmt.Sprintf("%q, planted as %s: ...%q", s.value, s.place, text[max(0, i-60):min(len(text), i+len(v)+20)]))
				if len(found) == 20 {
					return found
				}
			}
		}
	}
	return found
}
