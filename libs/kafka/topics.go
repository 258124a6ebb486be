package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// The topics of Foreshadow. TopicTrafficCaptured is keyed by workload/session, TopicExperimentRecorded by
// experiment, the others by workload.
const (
	TopicTrafficCaptured    = "foreshadow.traffic.captured.v1"
	TopicMetricsObserved    = "foreshadow.metrics.observed.v1"
	TopicMetricsWindowed    = "foreshadow.metrics.windowed.v1"
	TopicCapacityMeasured   = "foreshadow.capacity.measured.v1"
	TopicScalingRecommended = "foreshadow.scaling.recommended.v1"
	TopicScalingRemembered  = "foreshadow.scaling.remembered.v1"
	TopicScalingApplied     = "foreshadow.scaling.applied.v1"
	TopicExperimentRecorded = "foreshadow.experiment.recorded.v1"
)

// DLQ names the topic that holds the records of topic that no consumer could use.
func DLQ(topic string) string { return topic + ".dlq" }

// Topic is what EnsureTopics creates.
type Topic struct {
	Name string
	// Partitions is the number of consumers that can share the topic.
	Partitions int
	// Retention is how long the broker keeps a record. Zero leaves the broker's default.
	Retention time.Duration
	// ReplicationFactor is the number of copies. Zero leaves the broker's default.
	ReplicationFactor int
	// Compacted topics hold the newest record of each key; older ones are gone after an hour or so.
	Compacted bool
}

// DefaultTopics lists every topic with the partitions and the retention that suit its rate.
// Captured traffic is bulky and of no use once it is old; the others are small and explain decisions.
func DefaultTopics() []Topic {
	const day = 24 * time.Hour
	return []Topic{
		{Name: TopicTrafficCaptured, Partitions: 6, Retention: 2 * time.Hour},
		{Name: TopicMetricsObserved, Partitions: 6, Retention: day},
		{Name: TopicMetricsWindowed, Partitions: 6, Retention: 7 * day},
		{Name: TopicCapacityMeasured, Partitions: 1, Retention: 7 * day},
		{Name: TopicScalingRecommended, Partitions: 1, Retention: 7 * day},
		{Name: TopicScalingRemembered, Partitions: 1, Retention: 90 * day, Compacted: true},
		{Name: TopicScalingApplied, Partitions: 1, Retention: 7 * day},
		{Name: TopicExperimentRecorded, Partitions: 1, Retention: 30 * day},
	}
}

// topicNames leaves room for the ".dlq" in the 249 bytes that a name may have.
var topicNames = regexp.MustCompile(`^[A-Za-z0-9._-]{1,245}$`)

// dlqRetention gives people a week to look at what was set aside.
const dlqRetention = 7 * 24 * time.Hour

// EnsureTopics creates the topics that are missing, and a one-partition DLQ beside each. A topic that exists is
// left as it is. Topics are never created on first use: an automatic topic has the broker's partition count and
// retention, and a misspelt name would look like a topic without data.
func EnsureTopics(ctx context.Context, cfg Config, topics []Topic) error {
	c, err := newClient(cfg)
	if err != nil {
		return err
	}
	defer c.close()
	configs := make([]kafkago.TopicConfig, 0, 2*len(topics))
	for i, t := range topics {
		if !topicNames.MatchString(t.Name) || t.Partitions < 1 || t.Retention < 0 || t.ReplicationFactor < 0 {
			return fmt.Errorf("topics[%d] %q: want a name of letters, digits, '.', '_' and '-', at least one partition and nothing negative", i, t.Name)
		}
		configs = append(configs, topicConfig(t), topicConfig(Topic{
			Name: DLQ(t.Name), Partitions: 1, Retention: dlqRetention, ReplicationFactor: t.ReplicationFactor,
		}))
	}
	ctx, cancel := c.request(ctx)
	defer cancel()
	resp, err := c.api.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: configs})
	if err != nil {
		return c.explain("create topics", err)
	}
	var errs []error
	for name, err := range resp.Errors {
		if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
			errs = append(errs, c.explain("create topic "+name, err))
		}
	}
	return errors.Join(errs...)
}

func topicConfig(t Topic) kafkago.TopicConfig {
	config := kafkago.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.ReplicationFactor}
	if t.ReplicationFactor == 0 {
		config.ReplicationFactor = -1 // the broker's default, since Kafka 2.4
	}
	set := func(name, value string) {
		config.ConfigEntries = append(config.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	if t.Retention > 0 {
		set("retention.ms", strconv.FormatInt(t.Retention.Milliseconds(), 10))
	}
	if t.Compacted {
		policy := "compact"
		if t.Retention > 0 {
			policy = "compact,delete" // of a key that nobody writes any more
		}
		set("cleanup.policy", policy)
		// The segment that is written to is never compacted, and is a week long unless told otherwise.
		set("segment.ms", strconv.FormatInt(time.Hour.Milliseconds(), 10))
	}
	return config
}
