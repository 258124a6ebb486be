package stratum

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/oschwald/maxminddb-golang/v2"
)

// maxCached bounds the records of a database that are kept decoded.
const maxCached = 4096

// database answers one question about an address from a file in MaxMind's format. The file is read into memory, so that
// whoever replaces it in place does not take the process down with it.
type database struct {
	reader *maxminddb.Reader
	field  []any

	mu    sync.RWMutex
	known map[uintptr]string
}

// question is what is asked of a database, and the kinds of database that can answer.
type question struct {
	key   string
	kinds []string
	field []any
}

var (
	countryOf = func() question {
		return question{key: "tap.geography_database", kinds: []string{"Country", "City", "Enterprise"}, field: []any{"country", "iso_code"}}
	}
	connectionOf = func() question {
		return question{key: "tap.network_database", kinds: []string{"Connection-Type"}, field: []any{"connection_type"}}
	}
)

// openDatabase reads a database; its errors name the key and the path. An empty path is no database.
func openDatabase(q question, path string) (*database, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: read %s: %w", q.key, path, plainError(err))
	}
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %s is not a database in MaxMind's format: %w", q.key, path, err)
	}
	kind := reader.Metadata.DatabaseType
	if !slices.ContainsFunc(q.kinds, func(k string) bool { return strings.Contains(kind, k) }) {
		return nil, fmt.Errorf("%s: %s is of the type %q, want one of %s", q.key, path, kind, strings.Join(q.kinds, ", "))
	}
	return &database{reader: reader, field: q.field, known: map[uintptr]string{}}, nil
}

// plainError drops the path that os repeats.
func plainError(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// lookup returns the field of an address; "" when the database does not know it. A record that is damaged is not known.
func (d *database) lookup(client netip.Addr) string {
	if !client.IsValid() {
		return ""
	}
	result := d.reader.Lookup(client.Unmap())
	if result.Err() != nil || !result.Found() {
		return ""
	}
	at := result.Offset()
	d.mu.RLock()
	value, ok := d.known[at]
	d.mu.RUnlock()
	if ok {
		return value
	}
	if err := result.DecodePath(&value, d.field...); err != nil {
		value = ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxCached {
		clear(d.known)
	}
	d.known[at] = value
	return value
}
