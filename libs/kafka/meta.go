package kafka

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	kafkago "github.com/segmentio/kafka-go"
)

// Meta is the envelope of an event: CloudEvents 1.0 attributes in Kafka's binary mode, the W3C trace context, and
// the producer's sequence.
type Meta struct {
	// ID is unique for an event and equal on every copy of it: "<producer_id>/<sequence>".
	ID string
	// Type is the protobuf full name of the value.
	Type string
	// Source says which program observed it, for example "/replicator/shop".
	Source string
	// Time is when it happened, by the producer's clock.
	Time time.Time
	// ProducerID is random for each run of a producer.
	ProducerID string
	// Sequence rises with each record that a producer writes to a partition. It may skip, it never repeats but on
	// a copy of the same record. At most math.MaxInt64, so that it fits a database's bigint.
	Sequence uint64
	// Traceparent is the W3C trace context, or empty.
	Traceparent string
}

// EventID is the deterministic CloudEvents id of a producer's n-th event.
func EventID(producerID string, sequence uint64) string {
	return producerID + "/" + strconv.FormatUint(sequence, 10)
}

const (
	headerSpecVersion = "ce_specversion"
	headerID          = "ce_id"
	headerType        = "ce_type"
	headerSource      = "ce_source"
	headerTime        = "ce_time"
	headerContentType = "content-type"
	headerTraceparent = "traceparent"
	headerProducerID  = "producer_id"
	headerSequence    = "sequence"

	specVersion     = "1.0"
	contentProtobuf = "application/protobuf"

	// maxHeaderValue bounds what a stranger can make a consumer keep for each record.
	maxHeaderValue = 256
)

func (m Meta) headers() []kafkago.Header {
	headers := []kafkago.Header{
		{Key: headerSpecVersion, Value: []byte(specVersion)},
		{Key: headerID, Value: []byte(m.ID)},
		{Key: headerType, Value: []byte(m.Type)},
		{Key: headerSource, Value: []byte(m.Source)},
		{Key: headerTime, Value: m.Time.UTC().AppendFormat(nil, time.RFC3339Nano)},
		{Key: headerContentType, Value: []byte(contentProtobuf)},
		{Key: headerProducerID, Value: []byte(m.ProducerID)},
		{Key: headerSequence, Value: strconv.AppendUint(nil, m.Sequence, 10)},
	}
	if m.Traceparent != "" {
		headers = append(headers, kafkago.Header{Key: headerTraceparent, Value: []byte(m.Traceparent)})
	}
	return headers
}

// validate refuses on the way out what parseMeta would refuse on the way in.
func (m Meta) validate() error {
	if m.Time.IsZero() {
		return errors.New("event time is not set")
	}
	_, err := parseMeta(m.headers())
	return err
}

// parseMeta reads the envelope. Its errors are the reasons a record goes to the DLQ.
func parseMeta(headers []kafkago.Header) (Meta, error) {
	values := make(map[string]string, len(headers))
	for _, h := range headers {
		switch h.Key {
		case headerSpecVersion, headerID, headerType, headerSource, headerTime, headerContentType,
			headerTraceparent, headerProducerID, headerSequence:
		default:
			continue // somebody else's header
		}
		if _, twice := values[h.Key]; twice {
			return Meta{}, fmt.Errorf("header %s is given twice", h.Key)
		}
		if err := checkHeaderValue(h.Value); err != nil {
			return Meta{}, fmt.Errorf("header %s: %w", h.Key, err)
		}
		values[h.Key] = string(h.Value)
	}
	for _, name := range []string{headerSpecVersion, headerID, headerType, headerSource, headerTime,
		headerContentType, headerProducerID, headerSequence} {
		if values[name] == "" {
			return Meta{}, fmt.Errorf("header %s is missing", name)
		}
	}
	if v := values[headerSpecVersion]; v != specVersion {
		return Meta{}, fmt.Errorf("header %s is %q, want %q", headerSpecVersion, v, specVersion)
	}
	if v := values[headerContentType]; v != contentProtobuf {
		return Meta{}, fmt.Errorf("header %s is %q, want %q", headerContentType, v, contentProtobuf)
	}
	at, err := time.Parse(time.RFC3339Nano, values[headerTime])
	// An offset can push a time out of the years that RFC 3339, and a database, can write.
	if at = at.UTC(); err != nil || at.Year() < 1 || at.Year() > 9999 {
		return Meta{}, fmt.Errorf("header %s is %q, want RFC 3339", headerTime, values[headerTime])
	}
	sequence, err := strconv.ParseUint(values[headerSequence], 10, 64)
	if err != nil || sequence > math.MaxInt64 {
		return Meta{}, fmt.Errorf("header %s is %q, want 0 to 2^63-1", headerSequence, values[headerSequence])
	}
	return Meta{
		ID: values[headerID], Type: values[headerType], Source: values[headerSource], Time: at,
		ProducerID: values[headerProducerID], Sequence: sequence, Traceparent: values[headerTraceparent],
	}, nil
}

// checkHeaderValue keeps out what a database column or a log line cannot hold: a NUL byte in an id would fail the
// same INSERT forever.
func checkHeaderValue(value []byte) error {
	if len(value) > maxHeaderValue {
		return fmt.Errorf("has %d bytes, more than %d", len(value), maxHeaderValue)
	}
	if !utf8.Valid(value) {
		return errors.New("is not UTF-8")
	}
	for _, b := range value {
		if b < 0x20 || b == 0x7f {
			return errors.New("holds a control character")
		}
	}
	return nil
}
