package evaluation

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

// maxPoints bounds the grid a file may span, so that one far timestamp cannot ask for all memory.
const maxPoints = 5_000_000

// ReadCSV reads a series with the columns timestamp,value in ascending order; the file may be gzipped. A timestamp is a time of
// ISO 8601 or seconds (milli-, micro-, nanoseconds) since 1970; one without a zone is UTC. An empty value or NaN is a missing
// point. The first two rows set the step. Rows left out leave missing points; any other distance, a repeated or a descending
// timestamp, a wrong column or a value that is no number is an error that names its line.
func ReadCSV(r io.Reader) (forecast.Series, error) {
	text, err := plain(r)
	if err != nil {
		return forecast.Series{}, err
	}
	in := csv.NewReader(text)
	in.FieldsPerRecord = -1
	in.ReuseRecord = true
	if got, err := header(in, "timestamp", "value"); err != nil {
		return forecast.Series{}, err
	} else if len(got) != 2 {
		return forecast.Series{}, columnsError(got, []string{"timestamp", "value"})
	}
	var s forecast.Series
	var last time.Time
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return forecast.Series{}, unreadable(err)
		}
		line, _ := in.FieldPos(0)
		at, v, err := parsePoint(record)
		if err != nil {
			return forecast.Series{}, fmt.Errorf("line %d: %w", line, err)
		}
		if err := appendPoint(&s, last, at, v); err != nil {
			return forecast.Series{}, fmt.Errorf("line %d: %w", line, err)
		}
		last = at
	}
	if len(s.Values) < 2 {
		return forecast.Series{}, fmt.Errorf("rows: %d, at least two are needed to know the step", len(s.Values))
	}
	return s, nil
}

// plain unpacks what is gzipped, takes off a byte order mark, and refuses what is no text, or what spreadsheets call Unicode text.
func plain(r io.Reader) (io.Reader, error) {
	text := bufio.NewReader(r)
	start, err := peek(text)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte("\x1f\x8b")) {
		z, err := gzip.NewReader(text)
		if err != nil {
			return nil, unreadable(err)
		}
		text = bufio.NewReader(z)
		if start, err = peek(text); err != nil {
			return nil, unreadable(err)
		}
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, errors.New("line 1: the text is UTF-16, want UTF-8")
	case bytes.IndexByte(start, 0) >= 0:
		return nil, errors.New("line 1: this is no text, want CSV, gzipped or not")
	case bytes.HasPrefix(start, []byte("\ufeff")):
		_, err = text.Discard(len("\ufeff"))
	}
	return text, err
}

// peek returns how a text begins, without reading on.
func peek(text *bufio.Reader) ([]byte, error) {
	start, err := text.Peek(text.Size())
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return start, err
}

// header returns the columns of a file that begins with those wanted, in capitals or not.
func header(in *csv.Reader, want ...string) ([]string, error) {
	got, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the file is empty")
	}
	if err != nil {
		return nil, unreadable(err)
	}
	for i, name := range want {
		if i >= len(got) || !strings.EqualFold(strings.TrimSpace(got[i]), name) {
			return nil, columnsError(got, want)
		}
	}
	return got, nil
}

func columnsError(got, want []string) error {
	if _, err := parseTime(strings.TrimSpace(got[0])); err == nil {
		return fmt.Errorf("line 1: the header is missing, want %s above the data", strings.Join(want, ","))
	}
	return fmt.Errorf("line 1: the header is %s, want %s", quoted(strings.Join(got, ",")), strings.Join(want, ","))
}

// unreadable says where a file is no CSV, or that it is not all there.
func unreadable(err error) error {
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		return fmt.Errorf("line %d: %w", syntax.StartLine, syntax.Err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the end of the gzip is missing")
	}
	return err
}

// quoted quotes a field so that its error stays one line to read, whatever the file is.
func quoted(text string) string {
	const most = 80
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return strconv.Quote(text[:most]) + "..."
}

func parsePoint(record []string) (time.Time, float64, error) {
	if len(record) != 2 {
		return time.Time{}, 0, fmt.Errorf("%d fields, want timestamp,value, and no comma within a number", len(record))
	}
	at, err := parseTime(strings.TrimSpace(record[0]))
	if err != nil {
		return at, 0, err
	}
	text := strings.TrimSpace(record[1])
	if text == "" {
		return at, math.NaN(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) {
		return at, 0, fmt.Errorf("value %s: want a number such as 1234.5", quoted(text))
	}
	return at, v, nil
}

// layouts are the forms of a time that tools write: RFC 3339, the same as pandas, SQL and BigQuery write it, with an offset
// without colon, and without a zone.
var layouts = [...]string{
	time.RFC3339Nano, time.DateTime, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 UTC", "2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly,
}

func parseTime(text string) (time.Time, error) {
	for _, layout := range layouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if at, ok := sinceEpoch(text); ok {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("timestamp %s: want RFC 3339, such as 2026-01-31T15:04:05Z, or seconds since 1970", quoted(text))
}

// sinceEpoch tells the unit by the size: a time from 1973 to 5138 is below 1e11 in seconds, and from 1973 on above that in each
// smaller unit. Smaller numbers are no times but the index of a table.
func sinceEpoch(text string) (time.Time, bool) {
	const least, most = 1e8, 1e11
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= least && v < math.MaxInt64) {
		return time.Time{}, false
	}
	if v < most {
		return time.UnixMilli(int64(math.Round(v * 1000))).UTC(), true
	}
	n, err := strconv.ParseInt(text, 10, 64) // a float has no room for nanoseconds
	if err != nil {
		n = int64(v)
	}
	switch {
	case n < most*1e3:
		return time.UnixMilli(n).UTC(), true
	case n < most*1e6:
		return time.UnixMicro(n).UTC(), true
	}
	return time.Unix(0, n).UTC(), true
}

func appendPoint(s *forecast.Series, last, at time.Time, v float64) error {
	switch {
	case len(s.Values) == 0:
		s.Start = at
	case at.Equal(last):
		return fmt.Errorf("timestamp %s: appears twice", at.Format(time.RFC3339Nano))
	case at.Before(last):
		return fmt.Errorf("timestamp %s: comes after %s, want ascending order", at.Format(time.RFC3339Nano), last.Format(time.RFC3339Nano))
	case at.Sub(last) == math.MaxInt64 || s.Step > 0 && at.Sub(last)/s.Step > time.Duration(maxPoints-len(s.Values)):
		return fmt.Errorf("timestamp %s: too far from the one before, a series may span %d steps", at.Format(time.RFC3339Nano), maxPoints)
	case s.Step == 0:
		s.Step = at.Sub(last)
	case at.Sub(last)%s.Step != 0:
		return fmt.Errorf("timestamp %s: %s after the one before, but the first two rows are %s apart", at.Format(time.RFC3339Nano), at.Sub(last), s.Step)
	}
	if s.Step > 0 {
		gap := int(at.Sub(last) / s.Step)
		for range gap - 1 {
			s.Values = append(s.Values, math.NaN())
		}
	}
	s.Values = append(s.Values, v)
	return nil
}

// Aggregate returns the means of each n successive points; missing ones are left out, a mean of none is missing. An
// incomplete last group is dropped.
func Aggregate(s forecast.Series, n int) forecast.Series {
	out := forecast.Series{Start: s.Start, Step: s.Step * time.Duration(n)}
	for i := 0; i+n <= len(s.Values); i += n {
		sum, seen := 0.0, 0
		for _, v := range s.Values[i : i+n] {
			if !math.IsNaN(v) {
				sum, seen = sum+v, seen+1
			}
		}
		if seen == 0 {
			sum, seen = math.NaN(), 1
		}
		out.Values = append(out.Values, sum/float64(seen))
	}
	return out
}
