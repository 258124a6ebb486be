package evaluation

import (
	"bytes"
	"compress/gzip"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

func TestReadCSV(t *testing.T) {
	t.Parallel()
	got, err := ReadCSV(strings.NewReader("timestamp,value\n2026-01-05T00:00:00Z,1.5\n2026-01-05 00:01:00,\n2026-01-05T00:02:00Z,NaN\n2026-01-05T01:04:00+01:00,-2e3\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := forecast.Series{
		Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), Step: time.Minute,
		Values: []float64{1.5, math.NaN(), math.NaN(), math.NaN(), -2000},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReadCSVTakesTimesAsToolsWriteThem(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for name, form := range map[string]func(time.Time) string{
		"RFC 3339":             func(at time.Time) string { return at.Format(time.RFC3339) },
		"with another zone":    func(at time.Time) string { return at.In(time.FixedZone("", 5400)).Format(time.RFC3339) },
		"pandas, with a zone":  func(at time.Time) string { return at.Format("2006-01-02 15:04:05+00:00") },
		"pandas, without one":  func(at time.Time) string { return at.Format("2006-01-02 15:04:05") },
		"isoformat":            func(at time.Time) string { return at.Format("2006-01-02T15:04:05") },
		"with a fraction":      func(at time.Time) string { return at.Format("2006-01-02T15:04:05.000000") },
		"without seconds":      func(at time.Time) string { return at.Format("2006-01-02 15:04") },
		"BigQuery":             func(at time.Time) string { return at.Format("2006-01-02 15:04:05 UTC") },
		"offset without colon": func(at time.Time) string { return at.In(time.FixedZone("", 5400)).Format("2006-01-02T15:04:05-0700") },
		"seconds":              func(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) },
		"seconds, fractional":  func(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) + ".0" },
		"seconds, exponential": func(at time.Time) string { return strconv.FormatFloat(float64(at.Unix()), 'e', -1, 64) },
		"milliseconds":         func(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) },
		"microseconds":         func(at time.Time) string { return strconv.FormatInt(at.UnixMicro(), 10) },
		"nanoseconds":          func(at time.Time) string { return strconv.FormatInt(at.UnixNano(), 10) },
	} {
		text := "\ufeff\"Timestamp\",\"value\"\r\n"
		for i := range 3 {
			text += form(start.Add(time.Duration(i)*time.Minute)) + ",1\r\n"
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write([]byte(text)); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		for _, r := range []io.Reader{strings.NewReader(text), &packed} {
			got, err := ReadCSV(r)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if !got.Start.Equal(start) || got.Step != time.Minute || len(got.Values) != 3 {
				t.Errorf("%s: %d points from %s every %s", name, len(got.Values), got.Start, got.Step)
			}
		}
	}
}

func TestReadCSVNamesTheLineAtFault(t *testing.T) {
	t.Parallel()
	const start = "timestamp,value\n2026-01-05T00:00:00Z,1\n2026-01-05T00:01:00Z,2\n"
	for name, tc := range map[string]struct{ text, want string }{
		"empty":        {"", "line 1: the file is empty"},
		"wrong column": {"time,value\n", `line 1: the header is "time,value", want timestamp,value`},
		"no header":    {"2026-01-05,1\n2026-01-06,2\n", "line 1: the header is missing, want timestamp,value above the data"},
		"three fields": {start + "2026-01-05T00:02:00Z,3,4\n", "line 4: 3 fields, want timestamp,value, and no comma within a number"},
		"one field":    {start + "2026-01-05T00:02:00Z\n", "line 4: 1 fields, want timestamp,value"},
		"semicolons":   {"timestamp;value\n2026-01-05;1\n", `line 1: the header is "timestamp;value", want timestamp,value`},
		"more columns": {"timestamp,value,host\n", `line 1: the header is "timestamp,value,host", want timestamp,value`},
		"UTF-16":       {"\xff\xfet\x00i\x00", "line 1: the text is UTF-16, want UTF-8"},
		"no text":      {"\x7fELF\x02\x01\x00", "line 1: this is no text, want CSV"},
		"endless":      {start + strings.Repeat("x", 1000) + ",1\n", `line 4: timestamp "` + strings.Repeat("x", 80) + `"...: want RFC 3339`},
		"open quote":   {start + "2026-01-05T00:02:00Z,\"3\n2026-01-05T00:03:00Z,4\n", "line 4: extraneous or missing"},
		"cut gzip":     {"\x1f\x8b\x08", "the end of the gzip is missing"},
		"comma":        {start + "2026-01-05T00:02:00Z,\"1,5\"\n", `line 4: value "1,5": want a number such as 1234.5`},
		"an index":     {"timestamp,value\n0,3\n", `line 2: timestamp "0": want RFC 3339`},
		"far future":   {"timestamp,value\n99999999999999999999,3\n", `line 2: timestamp "99999999999999999999": want RFC 3339`},
		"no rows":      {"timestamp,value\n", "rows: 0, at least two"},
		"bad time":     {start + "yesterday,3\n", `line 4: timestamp "yesterday"`},
		"bad value":    {start + "2026-01-05T00:02:00Z,much\n", `line 4: value "much"`},
		"infinite":     {start + "2026-01-05T00:02:00Z,Inf\n", `line 4: value "Inf"`},
		"twice":        {start + "2026-01-05T00:01:00Z,3\n", "line 4: timestamp 2026-01-05T00:01:00Z: appears twice"},
		"unsorted":     {start + "2026-01-05T00:00:30Z,3\n", "line 4: timestamp 2026-01-05T00:00:30Z: comes after"},
		"mixed steps":  {start + "2026-01-05T00:02:30Z,3\n", "line 4: timestamp 2026-01-05T00:02:30Z: 1m30s after the one before, but the first two rows are 1m0s apart"},
		"absurd gap":   {start + "9026-01-05T00:02:00Z,3\n", "line 4: timestamp 9026-01-05T00:02:00Z: too far from the one before"},
	} {
		_, err := ReadCSV(strings.NewReader(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestAggregate(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	got := Aggregate(forecast.Series{Step: time.Minute, Values: []float64{1, 3, nan, 5, nan, nan, 7}}, 2)
	want := forecast.Series{Step: 2 * time.Minute, Values: []float64{2, 5, nan}}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("timestamp,value\n2026-01-05T00:00:00Z,1\n2026-01-05T00:01:00Z,2\n2026-01-05T00:05:00Z,\n")
	f.Add("timestamp,value\n1767571200,1\n1767571260.0,2\n1767571320000,\n")
	f.Add("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	f.Add("timestamp,value\n0001-01-01T00:00:00Z,1\n9999-01-01T00:00:00Z,2\n9999-01-01T00:00:00.5Z,3\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ReadCSV(strings.NewReader(text))
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("error without a text")
			}
			return
		}
		if s.Step <= 0 || len(s.Values) < 2 || len(s.Values) > maxPoints {
			t.Errorf("accepted as step %s with %d points", s.Step, len(s.Values))
		}
		for _, v := range s.Values {
			if math.IsInf(v, 0) {
				t.Error("accepted an infinite value")
			}
		}
	})
}
