package stratum

import (
	"net/http"
	"strings"
	"sync"

	"github.com/mileusna/useragent"

	"github.com/foreshadow/foreshadow/libs/traffic"
)

// Classes of device.
const (
	Desktop = "desktop"
	Mobile  = "mobile"
	Tablet  = "tablet"
	Bot     = "bot"
)

const (
	maxAgents     = 4096
	maxAgentBytes = 512 // longer ones are made up, and are cut
)

// devices classifies by client hint and user agent, and remembers agents it has seen.
type devices struct {
	mu    sync.RWMutex
	known map[string]string
}

func newDevices() *devices { return &devices{known: map[string]string{}} }

func (d *devices) of(h http.Header) string {
	device := d.agent(first(h, "User-Agent"))
	// The hint knows a phone from the rest, and nothing of tablets and bots.
	if device == Bot || device == Tablet {
		return device
	}
	switch first(h, "Sec-Ch-Ua-Mobile") {
	case "?1":
		return Mobile
	case "?0":
		return Desktop
	}
	return device
}

func (d *devices) agent(agent string) string {
	if agent == "" {
		return traffic.Unknown
	}
	agent = agent[:min(len(agent), maxAgentBytes)]
	d.mu.RLock()
	device, ok := d.known[agent]
	d.mu.RUnlock()
	if ok {
		return device
	}
	device = classifyAgent(agent)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxAgents {
		// Beginning anew costs some microseconds per agent and needs no order of use.
		clear(d.known)
	}
	// The clone lets go of the header block that the agent is a part of.
	d.known[strings.Clone(agent)] = device
	return device
}

// classifyAgent reads an agent with the parser's tables, and adds two conventions they leave out: Android tablets are those
// that do not say "Mobile", and a program that names itself and its version but no system is no person.
func classifyAgent(agent string) string {
	ua := useragent.Parse(agent)
	browser := strings.HasPrefix(agent, "Mozilla/") || strings.HasPrefix(agent, "Opera/")
	switch {
	case ua.Bot, !browser && ua.OS == "" && ua.Version != "":
		return Bot
	case ua.Tablet, ua.OS == useragent.Android && !strings.Contains(agent, "Mobile"):
		return Tablet
	case ua.Mobile:
		return Mobile
	case ua.Desktop:
		return Desktop
	}
	return traffic.Unknown
}
