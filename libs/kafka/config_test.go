package kafka_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	"github.com/foreshadow/foreshadow/libs/kafka/kafkatest"
	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*kafka.Config)
		want   []string
	}{
		"default":       {func(*kafka.Config) {}, nil},
		"no broker":     {func(c *kafka.Config) { c.Brokers = nil }, []string{"brokers"}},
		"port missing":  {func(c *kafka.Config) { c.Brokers = []string{"a:1", "b"} }, []string{`brokers[1] "b"`}},
		"all at once":   {func(c *kafka.Config) { c.DialTimeout, c.RequestTimeout = 0, -1 }, []string{"dial_timeout", "request_timeout"}},
		"half a cert":   {func(c *kafka.Config) { c.TLS = kafka.TLS{Enabled: true, KeyFile: "k"} }, []string{"cert_file and key_file"}},
		"tls off":       {func(c *kafka.Config) { c.TLS.CAFile = "ca" }, []string{"enabled is false"}},
		"no mechanism":  {func(c *kafka.Config) { c.SASL.Username = "u" }, []string{"without a mechanism"}},
		"no password":   {func(c *kafka.Config) { c.SASL = kafka.SASL{Mechanism: kafka.SASLPlain, Username: "u"} }, []string{"username and password"}},
		"bad mechanism": {func(c *kafka.Config) { c.SASL.Mechanism = "kerberos" }, []string{`"kerberos"`}},
		"scram": {func(c *kafka.Config) {
			c.SASL = kafka.SASL{Mechanism: kafka.SASLScramSHA512, Username: "u", Password: "p"}
		}, nil},
	} {
		cfg := kafka.Default()
		tc.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (tc.want == nil) {
			t.Errorf("%s: error %v", name, err)
		}
		for _, want := range tc.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v does not say %q", name, err, want)
			}
		}
	}
}

func TestPingNamesTheBroker(t *testing.T) {
	t.Parallel()
	if err := kafka.Ping(t.Context(), sharedBroker(t)); err != nil {
		t.Errorf("a broker that is there: %v", err)
	}
	cfg := kafkatest.Config("127.0.0.1:1")
	if err := kafka.Ping(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "connect to kafka broker 127.0.0.1:1") {
		t.Errorf("a broker that is not there: %v", err)
	}
	// Something listens, and is no Kafka.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	cfg = kafkatest.Config(listener.Addr().String())
	cfg.DialTimeout = time.Second
	if err := kafka.Ping(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), listener.Addr().String()) || !strings.Contains(err.Error(), "speak Kafka") {
		t.Errorf("something that is no broker: %v", err)
	}
}

func TestPingAuthenticates(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "alice", "right"), kfake.Superuser("SCRAM-SHA-256", "bob", "right"), kfake.Superuser("SCRAM-SHA-512", "carol", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for mechanism, user := range map[string]string{kafka.SASLPlain: "alice", kafka.SASLScramSHA256: "bob", kafka.SASLScramSHA512: "carol"} {
		cfg := kafkatest.Config(cluster.ListenAddrs()[0])
		cfg.SASL = kafka.SASL{Mechanism: mechanism, Username: user, Password: "right"}
		if err := kafka.Ping(t.Context(), cfg); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		// The pool of the services takes another path through kafka-go than Ping.
		if err := kafka.EnsureTopics(t.Context(), cfg, []kafka.Topic{{Name: mechanism, Partitions: 1}}); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		cfg.SASL.Password = "wrong"
		err := kafka.Ping(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("broker %s as user %q", cfg.Brokers[0], user)) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s with a wrong password: %v", mechanism, err)
		}
	}
}

func TestEncryptedBrokerIsVerified(t *testing.T) {
	t.Parallel()
	cert, caFile := selfSigned(t, "127.0.0.1")
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cfg := kafkatest.Config(cluster.ListenAddrs()[0])
	cfg.TLS = kafka.TLS{Enabled: true, CAFile: caFile}
	if err := kafka.Ping(t.Context(), cfg); err != nil {
		t.Errorf("with the broker's authority: %v", err)
	}
	cfg.TLS.CAFile = ""
	if err := kafka.Ping(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with an unknown authority: %v", err)
	}
	cfg.TLS.CAFile = "/nonexistent.pem"
	if err := kafka.Ping(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "/nonexistent.pem") {
		t.Errorf("without the file: %v", err)
	}
}

func TestAwaitBrokerWaitsAndSaysWhyItGaveUp(t *testing.T) {
	t.Parallel()
	broker := kafkatest.NewBroker(t)
	broker.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := kafka.AwaitBroker(ctx, broker.Config()); err == nil || !strings.Contains(err.Error(), broker.Config().Brokers[0]) {
		t.Errorf("gave up with %v", err)
	}
	up := make(chan error, 1)
	go func() { up <- kafka.AwaitBroker(deadline(t), broker.Config()) }()
	broker.Start()
	if err := <-up; err != nil {
		t.Errorf("after the broker came: %v", err)
	}
	if err := kafka.AwaitBroker(t.Context(), kafka.Config{}); err == nil {
		t.Error("waited for a configuration that can never work")
	}
}

func TestEnsureTopicsIsIdempotentAndMakesADLQ(t *testing.T) {
	t.Parallel()
	cfg := kafkatest.NewBroker(t).Config()
	topics := kafka.DefaultTopics()
	for range 2 {
		if err := kafka.EnsureTopics(t.Context(), cfg, topics); err != nil {
			t.Fatal(err)
		}
	}
	client, transport := bareClient(cfg)
	defer transport.CloseIdleConnections()
	meta, err := client.Metadata(t.Context(), &kafkago.MetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	partitions := map[string]int{}
	for _, topic := range meta.Topics {
		partitions[topic.Name] = len(topic.Partitions)
	}
	for _, topic := range topics {
		if partitions[topic.Name] != topic.Partitions || partitions[kafka.DLQ(topic.Name)] != 1 {
			t.Errorf("%s has %d partitions and its DLQ %d, want %d and 1", topic.Name, partitions[topic.Name], partitions[kafka.DLQ(topic.Name)], topic.Partitions)
		}
	}
	for name, want := range map[string]map[string]string{
		kafka.TopicScalingRemembered: {"cleanup.policy": "compact,delete", "segment.ms": "3600000", "retention.ms": "7776000000"},
		kafka.TopicScalingApplied:    {"cleanup.policy": "delete", "segment.ms": "604800000", "retention.ms": "604800000"},
	} {
		if diff := cmp.Diff(want, topicConfigs(t, client, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, bad := range []kafka.Topic{{Name: "bad name!", Partitions: 1}, {Name: "x"}, {Name: "x", Partitions: 1, Retention: -1}} {
		if err := kafka.EnsureTopics(t.Context(), cfg, []kafka.Topic{bad}); err == nil || !strings.Contains(err.Error(), "topics[0]") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	err = kafka.EnsureTopics(t.Context(), kafkatest.Config("127.0.0.1:1"), topics)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("without a broker: %v", err)
	}
}

// topicConfigs is how long a topic keeps what, as the broker says.
func topicConfigs(t *testing.T, client *kafkago.Client, topic string) map[string]string {
	t.Helper()
	resp, err := client.DescribeConfigs(t.Context(), &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"cleanup.policy", "segment.ms", "retention.ms"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range resp.Resources {
		for _, e := range r.ConfigEntries {
			out[e.ConfigName] = e.ConfigValue
		}
	}
	return out
}
