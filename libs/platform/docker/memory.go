package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/foreshadow/foreshadow/libs/platform"
)

// memory is what must not be forgotten of a group when the agent ends.
type memory struct {
	// Desired instances, Generation of the last change, and the Size it asked for.
	Desired    int           `json:"desired"`
	Generation uint64        `json:"generation"`
	Size       platform.Size `json:"size,omitzero"`
	// Foreign: somebody else has changed the number since.
	Foreign bool `json:"foreign,omitempty"`
	// Containers that are known, by identity.
	Containers []string `json:"containers"`
}

// store keeps the memory of one group in a file; without a path it keeps nothing, for a trial is not remembered.
type store struct{ path string }

// load returns false when there is none yet.
func (s store) load() (memory, bool, error) {
	var m memory
	if s.path == "" {
		return m, false, nil
	}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return m, false, fmt.Errorf("read what was asked for: %w", err)
	}
	return m, true, nil
}

// save replaces the file in one go, so that one who is killed leaves the old or the new one behind.
func (s store) save(m memory) error {
	if s.path == "" {
		return nil
	}
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode what was asked for: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), ".saving-*")
	if err != nil {
		return fmt.Errorf("write down what was asked for: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write down what was asked for: %w", err)
	}
	return nil
}
