package backtest

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/foreshadow/foreshadow/libs/forecast"
	"github.com/foreshadow/foreshadow/libs/scaling/foresight"
)

// shelf is a folder of chronicles, each under the hash of all that it depends on: a walk takes minutes, and most backtests
// of a series differ in policies, fleets and start-up times, which it does not depend on. What is no longer asked for stays
// until somebody deletes it; anything may be deleted at any time. The zero shelf keeps nothing.
type shelf struct{ folder string }

// edition changes when a chronicle holds something else for the same journey and the same forecast.
const edition = 3

// chronicle takes what a walk would yield from the shelf, or walks and puts it there.
func (s shelf) chronicle(ctx context.Context, j journey) (*chronicle, error) {
	if s.folder == "" {
		return j.walk(ctx)
	}
	key, err := j.key()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.folder, key+".gob.gz")
	if kept, err := read(path); err == nil {
		return kept, nil
	} else if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errDamaged) {
		return nil, err
	}
	made, err := j.walk(ctx)
	if err != nil {
		return nil, err
	}
	return made, write(path, made)
}

// key is the hash of a journey, of the code that forecasts on it, and of the form in which the outcome is kept.
func (j journey) key() (string, error) {
	engine, err := forecast.Fingerprint()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, edition, engine, foresight.Levels(), j.From, j.Scored, j.Whole, j.Horizon)
	if !j.Known.IsZero() { // what was kept before there were calendars stays good
		if err := json.NewEncoder(h).Encode(j.Known); err != nil {
			return "", fmt.Errorf("hash calendar: %w", err)
		}
	}
	fmt.Fprintln(h, j.Series.Start.UnixNano(), j.Series.Step, len(j.Series.Values))
	if err := binary.Write(h, binary.LittleEndian, j.Series.Values); err != nil {
		return "", fmt.Errorf("hash series: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// errDamaged is a file that does not hold a whole chronicle; it is made anew.
var errDamaged = errors.New("damaged")

func read(path string) (*chronicle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open kept forecasts: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("read kept forecasts: %w: %w", errDamaged, err)
	}
	c := new(chronicle)
	if err := gob.NewDecoder(z).Decode(c); err != nil {
		return nil, fmt.Errorf("read kept forecasts: %w: %w", errDamaged, err)
	}
	return c, nil
}

// write puts a whole chronicle at a path or nothing.
func write(path string, c *chronicle) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keep forecasts: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "*.part")
	if err != nil {
		return fmt.Errorf("keep forecasts: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep forecasts: %w", errors.Join(err, os.Remove(f.Name())))
		}
	}()
	z := gzip.NewWriter(f)
	if err := errors.Join(gob.NewEncoder(z).Encode(c), z.Close(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
