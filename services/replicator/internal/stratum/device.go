package stratum

import (
	"net/http"
	"strings"
	"sync"

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
	device := d.agent(h.Get("User-Agent"))
	// The hint knows a phone from the rest, and nothing of tablets and bots.
	if device == Bot || device == Tablet {
		return device
	}
	switch h.Get("Sec-Ch-Ua-Mobile") {
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
		// Beginning anew costs a microsecond per agent and needs no order of use.
		clear(d.known)
	}
	// The clone lets go of the header block that the agent is a part of.
	d.known[strings.Clone(agent)] = device
	return device
}

// classifyAgent knows the marks that the large families of clients carry; it does not try to know single models.
func classifyAgent(agent string) string {
	// Cubot is a maker of phones.
	a := strings.ReplaceAll(strings.ToLower(agent), "cubot", "")
	has := func(marks ...string) bool {
		for _, m := range marks {
			if strings.Contains(a, m) {
				return true
			}
		}
		return false
	}
	switch {
	case has("bot", "crawl", "spider", "slurp", "curl/", "wget/", "python-", "go-http-client", "java/", "libwww",
		"headless", "facebookexternalhit", "monitor", "preview", "apachebench", "scrapy", "http.rb", "axios/"):
		return Bot
	case has("ipad", "tablet", "kindle", "silk/", "playbook"), has("android") && !has("mobile"):
		return Tablet
	case has("mobi", "iphone", "ipod", "android", "windows phone", "opera mini", "blackberry"):
		return Mobile
	case has("windows nt", "macintosh", "x11", "cros ", "linux x86"):
		return Desktop
	}
	return traffic.Unknown
}
