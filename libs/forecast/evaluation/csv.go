package evaluation

import (
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

// ReadCSV reads a series with the columns timestamp,value: RFC 3339 or "2006-01-02 15:04:05" (UTC), ascending; an empty
// value or NaN is a missing point. The first two rows set the step. Rows left out leave missing points; any other distance,
// a repeated or a descending timestamp, a wrong column or a value that is no number is an error that names its line.
func ReadCSV(r io.Reader) (forecast.Series, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = 2
	in.ReuseRecord = true
	if err := header(in, "timestamp", "value"); err != nil {
		return forecast.Series{}, err
	}
	var s forecast.Series
	var last time.Time
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return forecast.Series{}, err
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
		return forecast.Series{}, fmt.Errorf("%d rows: at least two are needed to know the step", len(s.Values))
	}
	return s, nil
}

func header(in *csv.Reader, want ...string) error {
	got, err := in.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("line 1: the file is empty")
	}
	if err != nil {
		return err
	}
	for i, name := range want {
		if i >= len(got) || strings.TrimSpace(strings.TrimPrefix(got[i], "\ufeff")) != name {
			return fmt.Errorf("line 1: columns are %q, want %q", strings.Join(got, ","), strings.Join(want, ","))
		}
	}
	return nil
}

func parsePoint(record []string) (time.Time, float64, error) {
	text := strings.TrimSpace(record[0])
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		if at, err = time.Parse(time.DateTime, text); err != nil {
			return at, 0, fmt.Errorf("timestamp %q: want RFC 3339, such as 2026-01-31T15:04:05Z", text)
		}
	}
	text = strings.TrimSpace(record[1])
	if text == "" {
		return at, math.NaN(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) {
		return at, 0, fmt.Errorf("value %q: want a finite number", text)
	}
	return at, v, nil
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
		return fmt.Errorf("timestamp %s: %s after the one before, but the step is %s", at.Format(time.RFC3339Nano), at.Sub(last), s.Step)
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
