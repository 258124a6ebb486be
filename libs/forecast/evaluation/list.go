package evaluation

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/foreshadow/foreshadow/libs/forecast"
)

// Task is one row of the list of evaluations: which series, averaged how, forecast how far from how much history. All
// lengths are in points after averaging.
type Task struct {
	Name, File string
	Average    int // points averaged into one
	Day, Week  int
	Horizon    int
	History    int
}

// readTasks reads a list with the columns name,file,agg,m,mw,h,hist.
func readTasks(path string) ([]Task, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open list of series: %w", err)
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.FieldsPerRecord = -1
	if _, err := header(in, "name", "file", "agg", "m", "mw", "h", "hist"); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var tasks []Task
	seen := map[string]bool{}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return tasks, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		line, _ := in.FieldPos(0)
		if len(record) < 7 {
			return nil, fmt.Errorf("read %s: line %d: %d fields, want name,file,agg,m,mw,h,hist", path, line, len(record))
		}
		t := Task{Name: record[0], File: record[1]}
		if seen[t.Name] {
			return nil, fmt.Errorf("read %s: line %d: name %q: appears twice", path, line, t.Name)
		}
		seen[t.Name] = true
		for i, field := range []*int{&t.Average, &t.Day, &t.Week, &t.Horizon, &t.History} {
			if *field, err = strconv.Atoi(record[2+i]); err != nil || *field < 1 {
				return nil, fmt.Errorf("read %s: line %d: %q is not a positive whole number", path, line, record[2+i])
			}
		}
		tasks = append(tasks, t)
	}
}

func (t Task) load(dir string) (forecast.Series, error) {
	path := filepath.Join(dir, t.File)
	f, err := os.Open(path)
	if err != nil {
		return forecast.Series{}, fmt.Errorf("open series %s: %w", t.Name, err)
	}
	defer f.Close()
	s, err := ReadCSV(f)
	if err != nil {
		return forecast.Series{}, fmt.Errorf("read %s: %w", path, err)
	}
	s = Aggregate(s, t.Average)
	if len(s.Values) < t.History+t.Horizon {
		return forecast.Series{}, fmt.Errorf("series %s: %d points, the evaluation needs %d", t.Name, len(s.Values), t.History+t.Horizon)
	}
	return s, nil
}

// origins are spread evenly from the first to the last possible one; those whose history has too many gaps are left out.
func (t Task) origins(values []float64, count int) []int {
	const maxMissing = 0.2
	var out []int
	span := len(values) - t.Horizon - t.History
	for i := range count {
		o := t.History + span
		if count > 1 {
			o = t.History + int(math.RoundToEven(float64(span)*float64(i)/float64(count-1)))
		}
		missing := 0
		for _, v := range values[o-t.History : o] {
			if math.IsNaN(v) {
				missing++
			}
		}
		if float64(missing) <= maxMissing*float64(t.History) {
			out = append(out, o)
		}
	}
	return out
}
