package stratum

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/foreshadow/foreshadow/libs/traffic"
)

// Classes of network. The first group comes from a trusted header or a database, the second from what a browser measured.
const (
	Wired     = "wired"
	WiFi      = "wifi"
	Cellular  = "cellular"
	Satellite = "satellite"
	Corporate = "corporate"

	Slow2G    = "slow-2g"
	Class2G   = "2g"
	Class3G   = "3g"
	Class4G   = "4g"
	SavesData = "save-data"
)

// networks finds the class of a client's network: by the trusted header, else by the connection-type database, else by
// the client hints ECT, RTT, Downlink and Save-Data, in this order. Hints are the client's own word, of which only one of
// the classes is taken.
type networks struct {
	header   string
	database *database
}

func (n *networks) of(h http.Header, client netip.Addr) string {
	if n.header != "" {
		if class := networkClass(first(h, n.header)); class != traffic.Unknown {
			return class
		}
	}
	if n.database != nil {
		if class := networkClass(n.database.lookup(client)); class != traffic.Unknown {
			return class
		}
	}
	return hintedClass(h)
}

// networkClass reads the names that proxies and databases use.
func networkClass(name string) string {
	name = strings.TrimSpace(name)
	if len(name) > maxLabel {
		return traffic.Unknown
	}
	switch strings.ToLower(name) {
	case Wired, "ethernet", "cable", "dsl", "fiber", "fibre", "cable/dsl", "broadband", "dialup":
		return Wired
	case WiFi, "wi-fi", "wlan":
		return WiFi
	case Cellular, "mobile", "lte", "5g":
		return Cellular
	case Satellite:
		return Satellite
	case Corporate:
		return Corporate
	case Slow2G:
		return Slow2G
	case Class2G:
		return Class2G
	case Class3G:
		return Class3G
	case Class4G:
		return Class4G
	}
	return traffic.Unknown
}

// hintedClass follows the table of effective connection types in the Network Information API: the worse of round trip
// time (ms) and downlink (Mbit/s) decides.
func hintedClass(h http.Header) string {
	switch ect := strings.ToLower(first(h, "Ect")); ect {
	case Slow2G, Class2G, Class3G, Class4G:
		return networkClass(ect)
	}
	rtt, hasRTT := measured(first(h, "Rtt"))
	down, hasDown := measured(first(h, "Downlink"))
	switch {
	case !hasRTT && !hasDown:
		if strings.EqualFold(strings.TrimSpace(first(h, "Save-Data")), "on") {
			return SavesData
		}
		return traffic.Unknown
	case hasRTT && rtt >= 2000, hasDown && down < 0.05:
		return Slow2G
	case hasRTT && rtt >= 1400, hasDown && down < 0.07:
		return Class2G
	case hasRTT && rtt >= 270, hasDown && down < 0.7:
		return Class3G
	}
	return Class4G
}

func measured(value string) (float64, bool) {
	if value == "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return v, err == nil && v >= 0
}
