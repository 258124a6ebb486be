// Package emulate makes connections behave like those of production's clients: a round trip takes its time, and a slow line
// takes bytes slowly, so that a slow phone holds a connection, and what the service keeps for it, as long as it does in
// production. What clients of a class are like is data.
package emulate

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
)

// Profile is what a client is like.
type Profile struct {
	// RTT is the time of a round trip between client and service.
	RTT time.Duration `yaml:"rtt"`
	// DownBitsPerSecond and UpBitsPerSecond are the pace of its line; 0 = as fast as it goes.
	DownBitsPerSecond float64 `yaml:"down_bits_per_second"`
	// UpBitsPerSecond is the pace towards the service.
	UpBitsPerSecond float64 `yaml:"up_bits_per_second"`
}

// Profiles are the clients of one workload.
type Profiles struct {
	// Network is by network class of the stratum.
	Network map[string]Profile `yaml:"network"`
	// Geography is a round-trip time that comes on top.
	Geography map[string]time.Duration `yaml:"geography"`
	// Connections a client opens at most, to speak HTTP/1.1.
	Connections int `yaml:"connections"`
	// KeepAlive is how long a client keeps an idle connection.
	KeepAlive time.Duration `yaml:"keep_alive"`
}

//go:embed profiles.yaml
var defaults []byte

// Default returns the built-in profiles; the file beside this one says where each figure is from.
func Default() (Profiles, error) { return Parse("profiles.yaml", defaults) }

// Load reads a file of the form of the built-in one; an empty path is the built-in one.
func Load(path string) (Profiles, error) {
	if path == "" {
		return Default()
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Profiles{}, fmt.Errorf("read profiles: %w", err)
	}
	return Parse(path, data)
}

// Parse reads profiles; name stands for the file in errors, which name every fault.
func Parse(name string, data []byte) (Profiles, error) {
	var p Profiles
	if err := workload.Decode(name, data, nil, &p); err != nil {
		return p, err
	}
	return p, p.validate(name)
}

func (p Profiles) validate(name string) error {
	var errs []error
	for class, c := range p.Network {
		if c.RTT < 0 || c.RTT > time.Minute || !(c.DownBitsPerSecond >= 0) || !(c.UpBitsPerSecond >= 0) {
			errs = append(errs, fmt.Errorf("%s: network.%s: want an rtt of at most 1m and nothing negative", name, class))
		}
	}
	for where, rtt := range p.Geography {
		if rtt < 0 || rtt > time.Minute {
			errs = append(errs, fmt.Errorf("%s: geography.%s: want at most 1m, got %v", name, where, rtt))
		}
	}
	if p.Connections < 1 || p.KeepAlive <= 0 {
		errs = append(errs, fmt.Errorf("%s: connections and keep_alive must be positive", name))
	}
	return errors.Join(errs...)
}

// Of returns the profile of the clients of a stratum.
func (p Profiles) Of(s traffic.Stratum) Profile {
	out, known := p.Network[s.Network]
	if !known {
		out = p.Network[traffic.Unknown]
	}
	out.RTT += p.Geography[s.Geography]
	return out
}

// Holds is how long a request holds its connection at the service: its bytes come up the line, it is worked on, the answer
// goes down, and a round trip passes until the service hears of the client again.
func (p Profile) Holds(up, down int, service time.Duration) time.Duration {
	return pace(up, p.UpBitsPerSecond) + service + pace(down, p.DownBitsPerSecond) + p.RTT
}

func pace(bytes int, bitsPerSecond float64) time.Duration {
	if bitsPerSecond == 0 {
		return 0
	}
	return time.Duration(float64(bytes) * 8 / bitsPerSecond * float64(time.Second))
}
