package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
)

// TestHangUpReloads sends SIGHUP to a replicator under a client whose one connection stays: a valid file holds from then on, one
// that is not valid changes nothing, and both are said. At the end it costs nothing.
func TestHangUpReloads(t *testing.T) {
	t.Parallel()
	listen, admin, path := deadAddress(t), deadAddress(t), filepath.Join(t.TempDir(), "config.yaml")
	write := func(tap string) {
		t.Helper()
		valid := strings.Replace(fmt.Sprintf(configuration, binary), "tap: {sample_ratio: 0.5,", "tap: {"+tap+",", 1)
		service := fmt.Sprintf("replicator: {listen: %q, admin: %q, capture: {mode: mirror}}\nkafka: {brokers: [%q]}\n", listen, admin, deadAddress(t))
		if err := os.WriteFile(path, []byte(valid+service), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sample_ratio: 0")
	cmd := exec.Command(binary, "replicator", "--config", path)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	said := func(what string) string {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), what) {
				return lines.Text()
			}
		}
		t.Fatalf("it ended without saying %q", what)
		return ""
	}
	// A replicator that hangs would hold the test for ever.
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		hung.Stop()
		_ = cmd.Process.Kill() // unless it has ended
		_ = cmd.Wait()
	})
	hangUp := func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	said("started")
	client := &mirrored{t: t, listen: listen, admin: admin, http: &http.Client{}}
	defer client.http.CloseIdleConnections()
	eventually(t, 30*time.Second, client.ready)

	client.ask("1 left out, 0 copied")
	write("sample_ratio: 1")
	hangUp()
	said("configuration reloaded")
	client.ask("1 left out, 1 copied")
	write("sample_ratio: 2")
	hangUp()
	if line := said("configuration not reloaded"); !strings.Contains(line, "tap.sample_ratio") {
		t.Errorf("it does not name the key: %s", line)
	}
	client.ask("1 left out, 2 copied")
	if client.dials != 1 {
		t.Errorf("%d connections", client.dials)
	}
	open, err := net.Dial("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	_, _ = io.WriteString(open, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
	client.ask("1 left out, 4 copied") // that one has arrived, too
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() string {
		conn, err := net.Dial("tcp", listen)
		if err != nil {
			return ""
		}
		_ = conn.Close()
		return "it accepts connections"
	})
	hangUp()
	_, _ = io.WriteString(open, "b")
	if resp, err := http.ReadResponse(bufio.NewReader(open), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a request that was open at the end: %v, %v", resp, err)
	}
	said("stopped")
}

// mirrored sends copies to a replicator in mode mirror.
type mirrored struct {
	t             *testing.T
	listen, admin string
	http          *http.Client
	dials         int
}

func (m *mirrored) ready() string {
	resp, err := http.Get("http://" + m.admin + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	return ""
}

// ask sends one and waits until the tap's ledger says what is wanted. There is no broker: copies wait in the queue.
func (m *mirrored) ask(want string) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(m.t.Context(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			if !i.Reused {
				m.dials++
			}
		},
	}), http.MethodGet, "http://"+m.listen+"/items/1", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := m.http.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	eventually(m.t, 30*time.Second, func() string {
		l := m.ledger()
		if got := fmt.Sprintf("%d left out, %d copied", l.Dropped["sampled_out"], l.Pending); got != want {
			return got + ", want " + want
		}
		return ""
	})
}

func (m *mirrored) ledger() metric.Ledger {
	m.t.Helper()
	resp, err := http.Get("http://" + m.admin + "/ledger")
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	var ledgers []metric.Ledger
	if err := json.NewDecoder(resp.Body).Decode(&ledgers); err != nil {
		m.t.Fatal(err)
	}
	for _, l := range ledgers {
		if l.Hop == "replicator/tap" {
			return l
		}
	}
	m.t.Fatal("no ledger of the tap")
	return metric.Ledger{}
}
