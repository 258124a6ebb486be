package evaluation

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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

const taskColumns = "name,file,agg,m,mw,h,hist"

// readTasks reads a list with the columns of taskColumns; others may follow.
func readTasks(path string) ([]Task, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open list of series: %w", err)
	}
	defer f.Close()
	tasks, err := parseTasks(f)
	return tasks, inFile(path, err)
}

// inFile names the file of an error, unless it names it itself.
func inFile(path string, err error) error {
	var named *fs.PathError
	if err == nil || errors.As(err, &named) {
		return err
	}
	return fmt.Errorf("read %s: %w", path, err)
}

func parseTasks(r io.Reader) ([]Task, error) {
	text, err := plain(r)
	if err != nil {
		return nil, err
	}
	in := csv.NewReader(text)
	in.FieldsPerRecord = -1
	if _, err := header(in, strings.Split(taskColumns, ",")...); err != nil {
		return nil, err
	}
	var tasks []Task
	seen := map[string]bool{}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, unreadable(err)
		}
		line, _ := in.FieldPos(0)
		t, err := parseTask(record)
		if err == nil && seen[t.Name] {
			err = fmt.Errorf("name %q: appears twice", t.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		seen[t.Name] = true
		tasks = append(tasks, t)
	}
	if len(tasks) == 0 {
		return nil, errors.New("the list has no rows")
	}
	return tasks, nil
}

func parseTask(record []string) (Task, error) {
	columns := strings.Split(taskColumns, ",")
	if len(record) < len(columns) {
		return Task{}, fmt.Errorf("%d fields, want %s", len(record), taskColumns)
	}
	for i := range columns {
		record[i] = strings.TrimSpace(record[i])
		if record[i] == "" {
			return Task{}, fmt.Errorf("%s: is missing", columns[i])
		}
	}
	t := Task{Name: record[0], File: record[1]}
	for i, field := range []*int{&t.Average, &t.Day, &t.Week, &t.Horizon, &t.History} {
		var err error
		if *field, err = strconv.Atoi(record[2+i]); err != nil || *field < 1 {
			return Task{}, fmt.Errorf("%s %s: want a positive whole number", columns[2+i], quoted(record[2+i]))
		}
	}
	return t, nil
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
		return forecast.Series{}, inFile(path, err)
	}
	s = Aggregate(s, t.Average)
	if len(s.Values) < t.History+t.Horizon {
		return forecast.Series{}, fmt.Errorf("series %s: %d points, h and hist need %d", t.Name, len(s.Values), t.History+t.Horizon)
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
