package stratum_test

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/stratum"
)

// writeDatabase makes a database in MaxMind's format and returns its path.
func writeDatabase(t testing.TB, kind string, records map[string]mmdbtype.DataType) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for cidr, record := range records {
		_, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	if _, err := tree.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.mmdb")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func country(code string) mmdbtype.DataType {
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
}

func TestGeographyAndNetworkFromDatabases(t *testing.T) {
	t.Parallel()
	c := newClassifier(t, bounds(10, func(tap *workload.Tap) {
		tap.GeographyHeader = "X-Country"
		tap.GeographyDatabase = writeDatabase(t, "GeoLite2-City", map[string]mmdbtype.DataType{
			"192.0.2.0/24": country("DE"), "2001:db8::/32": country("fr"), "198.51.100.0/24": country("much too long"),
			"203.0.113.0/24": mmdbtype.Map{"country": mmdbtype.String("not a map")},
		})
		tap.NetworkDatabase = writeDatabase(t, "GeoIP2-Connection-Type", map[string]mmdbtype.DataType{
			"192.0.2.0/24":  mmdbtype.Map{"connection_type": mmdbtype.String("Cellular")},
			"2001:db8::/32": mmdbtype.Map{"connection_type": mmdbtype.String("Cable/DSL")},
		})
	}))
	for _, tc := range []struct{ client, header, hint, geography, network string }{
		{"192.0.2.7", "", "", "DE", "cellular"},
		{"192.0.2.8", "us", "2g", "US", "cellular"},
		{"::ffff:192.0.2.7", "", "", "DE", "cellular"},
		{"2001:db8::1", "", "", "FR", "wired"},
		{"198.51.100.1", "", "3g", "unknown", "3g"},
		{"203.0.113.1", "", "", "unknown", "unknown"},
		{"10.0.0.1", "", "", "unknown", "unknown"},
		{"", "", "", "unknown", "unknown"},
		{"no address", "", "", "unknown", "unknown"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if tc.header != "" {
			r.Header.Set("X-Country", tc.header)
		}
		if tc.hint != "" {
			r.Header.Set("ECT", tc.hint)
		}
		want := traffic.Stratum{Route: "GET /", Geography: tc.geography, Device: "unknown", Network: tc.network}
		for range 2 { // the second time from the cache
			if got := c.Classify(r, tc.client); got != want {
				t.Errorf("%+v: %+v, want %+v", tc, got, want)
			}
		}
	}
}

func TestWrongDatabaseIsOneClearError(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), "garbage.mmdb")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("no database"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.mmdb")
	asn := writeDatabase(t, "GeoLite2-ASN", map[string]mmdbtype.DataType{"192.0.2.0/24": mmdbtype.Map{}})
	for name, tc := range map[string]struct {
		set  func(*workload.Tap)
		want []string
	}{
		"missing":    {func(tap *workload.Tap) { tap.GeographyDatabase = missing }, []string{"tap.geography_database", missing, "no such file"}},
		"a folder":   {func(tap *workload.Tap) { tap.GeographyDatabase = t.TempDir() }, []string{"tap.geography_database", "is a directory"}},
		"garbage":    {func(tap *workload.Tap) { tap.NetworkDatabase = garbage }, []string{"tap.network_database", garbage, "not a database"}},
		"other kind": {func(tap *workload.Tap) { tap.GeographyDatabase = asn }, []string{"tap.geography_database", asn, "GeoLite2-ASN", "Country"}},
	} {
		_, err := stratum.New(bounds(10, tc.set))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, part := range tc.want {
			if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %q does not say %q in one line", name, err, part)
			}
		}
	}
}

// TestTruncatedDatabaseNeverPanics cuts a good database everywhere: it is refused, or what it does not know is unknown.
func TestTruncatedDatabaseNeverPanics(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(writeDatabase(t, "GeoLite2-Country", map[string]mmdbtype.DataType{"192.0.2.0/24": country("DE")}))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.mmdb")
	for n := 0; n < len(data); n += 37 {
		if err := os.WriteFile(path, append(bytes.Clone(data[:n]), data[len(data)-min(len(data), 300):]...), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := stratum.New(bounds(10, func(tap *workload.Tap) { tap.GeographyDatabase = path }))
		if err != nil {
			continue
		}
		if got := c.Classify(httptest.NewRequest(http.MethodGet, "/", nil), "192.0.2.1").Geography; got != "DE" && got != "unknown" {
			t.Errorf("cut at %d: %q", n, got)
		}
	}
}
