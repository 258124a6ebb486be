package packet

import (
	"errors"
	"fmt"
	"time"
)

// Config is the section `replicator.capture.packet`.
type Config struct {
	// Interface is the network interface to listen at; it takes the right to open raw sockets (CAP_NET_RAW).
	Interface string `yaml:"interface"`
	// File is a pcap or pcapng file to be read once instead, with its original timing.
	File string `yaml:"file"`
	// Speed of a file: 1 is as it was, 10 is ten times as fast.
	Speed float64 `yaml:"speed"`
	// Ports are where production listens.
	Ports []int `yaml:"ports"`
	// VXLAN unpacks traffic that is mirrored in VXLAN (UDP port 4789).
	VXLAN bool `yaml:"vxlan"`
	// Promiscuous also takes packets that are for other machines, as a mirror port sees them.
	Promiscuous bool `yaml:"promiscuous"`
	// RingBytes is the kernel's buffer; packets that come while it is full are dropped, and counted.
	RingBytes int `yaml:"ring_bytes"`
	// BufferBytes bounds what is held of unfinished heads and of segments that came too early; above it the connection that
	// was quiet longest is given up.
	BufferBytes int `yaml:"buffer_bytes"`
	// MaxConnections bounds the connections that are followed at once.
	MaxConnections int `yaml:"max_connections"`
	// GapTimeout is how long a missing segment is waited for.
	GapTimeout time.Duration `yaml:"gap_timeout"`
	// IdleTimeout is when a connection without packets is forgotten.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
}

// DefaultConfig holds a second of two gigabits.
func DefaultConfig() Config {
	return Config{
		Speed: 1, RingBytes: 128 << 20, BufferBytes: 64 << 20, MaxConnections: 65536, GapTimeout: time.Second, IdleTimeout: 2 * time.Minute,
	}
}

// Validate reports every fault at once. Each names its key below the section.
func (c Config) Validate() error {
	var errs []error
	fault := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if (c.Interface == "") == (c.File == "") {
		fault("interface", "give either an interface or a file")
	}
	if !(c.Speed > 0) {
		fault("speed", "must be positive, got %v", c.Speed)
	}
	if len(c.Ports) == 0 || len(c.Ports) > maxPorts {
		fault("ports", "want 1 to %d ports where production listens, got %d", maxPorts, len(c.Ports))
	}
	for _, p := range c.Ports {
		if p < 1 || p > 65535 {
			fault("ports", "want a port from 1 to 65535, got %d", p)
		}
	}
	if c.RingBytes < blockBytes || c.BufferBytes < maxHead {
		fault("ring_bytes", "must be at least %d, and buffer_bytes %d, got %d and %d", blockBytes, maxHead, c.RingBytes, c.BufferBytes)
	}
	if c.MaxConnections < 1 {
		fault("max_connections", "must be at least 1, got %d", c.MaxConnections)
	}
	if c.GapTimeout <= 0 || c.IdleTimeout <= 0 {
		fault("gap_timeout", "and idle_timeout must be positive, got %v and %v", c.GapTimeout, c.IdleTimeout)
	}
	return errors.Join(errs...)
}

const (
	maxPorts   = 32
	maxHead    = 64 << 10
	blockBytes = 256 << 10
)
