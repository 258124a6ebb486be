package kafkatest

import (
	"crypto/rand"
	"testing"

	"github.com/foreshadow/foreshadow/libs/embedded"
	"github.com/foreshadow/foreshadow/libs/kafka"
)

// Broker is a broker of one test's own that can go away and come back on the same address with its data.
type Broker struct {
	t       testing.TB
	cfg     embedded.BrokerConfig
	running *embedded.Broker
}

// NewBroker starts one, configured further by changes. It ends with the test.
func NewBroker(t testing.TB, changes ...func(*embedded.BrokerConfig)) *Broker {
	t.Helper()
	cfg := embedded.DefaultBrokerConfig()
	cfg.Listen, cfg.DataDir = "127.0.0.1:0", t.TempDir()
	for _, change := range changes {
		change(&cfg)
	}
	b := &Broker{t: t, cfg: cfg}
	b.Start()
	b.cfg.Listen = b.running.Addr()
	t.Cleanup(b.Stop)
	return b
}

// NewBrokerBehind starts a broker that clients reach only through the proxy returned with it.
func NewBrokerBehind(t testing.TB) (*Broker, *Proxy) {
	t.Helper()
	b := NewBroker(t)
	proxy := newProxy(t, b.cfg.Listen)
	b.Stop()
	b.cfg.Advertise = proxy.addr
	b.Start()
	return b, proxy
}

// Start brings the broker back.
func (b *Broker) Start() {
	b.t.Helper()
	running, err := embedded.StartBroker(b.t.Context(), b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.running = running
}

// Stop takes the broker away.
func (b *Broker) Stop() {
	if b.running != nil {
		b.running.Close()
		b.running = nil
	}
}

// Config reaches the broker, through its proxy if it has one.
func (b *Broker) Config() kafka.Config {
	if b.cfg.Advertise != "" {
		return Config(b.cfg.Advertise)
	}
	return Config(b.cfg.Listen)
}

// Config reaches a broker at addr.
func Config(addr string) kafka.Config {
	cfg := kafka.Default()
	cfg.Brokers = []string{addr}
	return cfg
}

// Topic creates a topic, and its DLQ, named after the test and new in each run of it.
func Topic(t testing.TB, cfg kafka.Config, partitions int) string {
	t.Helper()
	return TopicFrom(t, cfg, kafka.Topic{Partitions: partitions})
}

// TopicFrom is Topic for one that has more to it than partitions. A name it has is kept.
func TopicFrom(t testing.TB, cfg kafka.Config, topic kafka.Topic) string {
	t.Helper()
	if topic.Name == "" {
		topic.Name = topicName(t.Name()) + "-" + rand.Text()[:8]
	}
	if err := kafka.EnsureTopics(t.Context(), cfg, []kafka.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	return topic.Name
}

// topicName replaces what a topic's name may not hold.
func topicName(name string) string {
	out := []byte(name)
	for i, c := range out {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			out[i] = '_'
		}
	}
	return string(out)
}
