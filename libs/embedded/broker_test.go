package embedded

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
)

func TestBrokerKeepsAcknowledgedRecordsAndOffsetsThroughKill9(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker := startHelper(t, "broker", "HELPER_LISTEN=127.0.0.1:0", "HELPER_DIR="+dir)
	addr := broker.ready
	const rounds, perRound = 3, 200
	var want []string
	for round := range rounds {
		client := &kafkago.Client{Addr: kafkago.TCP(addr), Transport: &kafkago.Transport{}}
		if round == 0 {
			createTopic(t, client, "orders")
		}
		for i := range perRound {
			value := fmt.Sprintf("%d-%d", round, i)
			produce(t, client, "orders", value)
			want = append(want, value)
		}
		commitOffset(t, client, "billing", "orders", int64(len(want)))
		closeIdle(client)

		// The moment after the last acknowledgement is the worst one to be killed in.
		broker.kill(t)
		broker = startHelper(t, "broker", "HELPER_LISTEN="+addr, "HELPER_DIR="+dir)

		client = &kafkago.Client{Addr: kafkago.TCP(addr), Transport: &kafkago.Transport{}}
		if diff := cmp.Diff(want, readAll(t, client, "orders")); diff != "" {
			t.Fatalf("records after kill -9 number %d (-acknowledged +read):\n%s", round+1, diff)
		}
		if got := fetchOffset(t, client, "billing", "orders"); got != int64(len(want)) {
			t.Fatalf("group offset after kill -9 is %d, want %d", got, len(want))
		}
		closeIdle(client)
	}
}

func TestBrokerInMemoryAndAdvertised(t *testing.T) {
	t.Parallel()
	cfg := DefaultBrokerConfig()
	cfg.Listen, cfg.Advertise = "127.0.0.1:0", "localhost:19092"
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan string, 1)
	cfg.Ready = func(addr string) { ready <- addr }
	ended := make(chan error, 1)
	go func() { ended <- RunBroker(ctx, cfg) }()
	if got := <-ready; got != "localhost:19092" {
		t.Errorf("advertised %s", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("clean stop returned %v", err)
	}
}

func TestBrokerSaysWhichAddressIsTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	cfg := DefaultBrokerConfig()
	cfg.Listen = listener.Addr().String()
	if _, err := StartBroker(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), cfg.Listen) {
		t.Errorf("error %v does not name %s", err, cfg.Listen)
	}
}

func TestBrokerConfigValidate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*BrokerConfig)
		want   string
	}{
		"default":               {func(*BrokerConfig) {}, ""},
		"no port":               {func(c *BrokerConfig) { c.Listen = "localhost" }, "want host:port"},
		"wildcard":              {func(c *BrokerConfig) { c.Listen = "0.0.0.0:9092" }, "set advertise"},
		"wildcard, advertised":  {func(c *BrokerConfig) { c.Listen, c.Advertise = ":9092", "broker:9092" }, ""},
		"advertise without one": {func(c *BrokerConfig) { c.Advertise = ":9092" }, "advertise"},
		"no cleaning":           {func(c *BrokerConfig) { c.CleanInterval = 0 }, "clean_interval"},
	} {
		cfg := DefaultBrokerConfig()
		tc.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

// The helpers below use kafka-go as it is: libs/kafka has its own tests against this broker.

func createTopic(t *testing.T, client *kafkago.Client, topic string) {
	t.Helper()
	resp, err := client.CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{
		Topics: []kafkago.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Errors[topic]; err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, client *kafkago.Client, topic, value string) {
	t.Helper()
	resp, err := client.Produce(t.Context(), &kafkago.ProduceRequest{
		Topic: topic, RequiredAcks: kafkago.RequireAll,
		Records: kafkago.NewRecordReader(kafkago.Record{Time: time.Now(), Value: kafkago.NewBytes([]byte(value))}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Error != nil {
		t.Fatal(resp.Error)
	}
}

func readAll(t *testing.T, client *kafkago.Client, topic string) []string {
	t.Helper()
	var values []string
	for offset, end := int64(0), int64(1); offset < end; offset = int64(len(values)) {
		resp, err := client.Fetch(t.Context(), &kafkago.FetchRequest{Topic: topic, Offset: offset, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if resp.Error != nil {
			t.Fatal(resp.Error)
		}
		end = resp.HighWatermark
		before := len(values)
		for r, err := resp.Records.ReadRecord(); err == nil; r, err = resp.Records.ReadRecord() {
			value, err := kafkago.ReadAll(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			if r.Offset >= offset {
				values = append(values, string(value))
			}
		}
		if len(values) == before {
			break
		}
	}
	return values
}

func commitOffset(t *testing.T, client *kafkago.Client, group, topic string, offset int64) {
	t.Helper()
	resp, err := client.OffsetCommit(t.Context(), &kafkago.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafkago.OffsetCommit{topic: {{Partition: 0, Offset: offset}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Topics[topic][0].Error; err != nil {
		t.Fatal(err)
	}
}

func fetchOffset(t *testing.T, client *kafkago.Client, group, topic string) int64 {
	t.Helper()
	resp, err := client.OffsetFetch(t.Context(), &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[topic][0].CommittedOffset
}

func closeIdle(client *kafkago.Client) { client.Transport.(*kafkago.Transport).CloseIdleConnections() }
