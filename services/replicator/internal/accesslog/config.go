package accesslog

import (
	"errors"
	"fmt"
)

// Names of the formats that need no description.
const (
	Combined = "combined"
	Common   = "common"
	JSON     = "json"
)

// Config is the section `replicator.capture.accesslog`.
type Config struct {
	// Path is the log file. When followed it may appear later; read once it may be compressed by gzip (.gz).
	Path string `yaml:"path"`
	// Format is combined, common, json, or a description as the server has it: nginx's log_format with $variables, or
	// Apache's LogFormat with %directives. Both must hold a time and the request.
	Format string `yaml:"format"`
	// Fields says for json under which key of the log one of nginx's variables is found, for example
	// `request_uri: http.url`; dots go into objects. What is not given is looked for under nginx's and Caddy's names.
	Fields map[string]string `yaml:"fields"`
	// Follow reads on as the log grows, from its present end. Otherwise it is read once, with its original timing.
	Follow bool `yaml:"follow"`
	// FromStart follows from the beginning of the file that is there.
	FromStart bool `yaml:"from_start"`
	// Speed of a log that is read once: 1 is as it was, 10 is ten times as fast.
	Speed float64 `yaml:"speed"`
	// MaxLineBytes bounds a line; longer ones are dropped.
	MaxLineBytes int `yaml:"max_line_bytes"`
}

// DefaultConfig follows a log in the combined format.
func DefaultConfig() Config {
	return Config{Format: Combined, Follow: true, Speed: 1, MaxLineBytes: 64 << 10}
}

// Validate reports every fault at once. Each names its key below the section.
func (c Config) Validate() error {
	var errs []error
	if c.Path == "" {
		errs = append(errs, errors.New("path: is missing: name the log file"))
	}
	if _, err := newParser(c.Format, c.Fields); err != nil {
		errs = append(errs, err)
	}
	if !(c.Speed > 0) {
		errs = append(errs, fmt.Errorf("speed: must be positive, got %v", c.Speed))
	}
	if c.MaxLineBytes < 1024 {
		errs = append(errs, fmt.Errorf("max_line_bytes: must be at least 1024, got %d", c.MaxLineBytes))
	}
	return errors.Join(errs...)
}
