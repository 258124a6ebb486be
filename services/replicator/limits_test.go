package replicator_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator"
)

// TestSlowAndLargeHeadsAreCutOff: a client that dawdles with its head, or sends too much of one, holds nothing for long, and
// reaches neither an instance nor the ledger.
func TestSlowAndLargeHeadsAreCutOff(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: func(c *replicator.Config) {
		c.HeaderTimeout, c.MaxHeaderBytes = 50*time.Millisecond, 2048
	}})
	r.use(serve(t, func(http.ResponseWriter, *http.Request) { t.Error("an instance got a request") }))
	for name, c := range map[string]struct {
		bytes string
		want  string
	}{
		"slow":  {"GET / HTTP/1.1\r\nHost: x\r\nX-", ""},
		"large": {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 16<<10) + "\r\n\r\n", "HTTP/1.1 431"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(conn, c.bytes)
		line, err := bufio.NewReader(conn).ReadString('\n')
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: the connection was not cut off", name)
		}
		if !strings.HasPrefix(line, c.want) {
			t.Errorf("%s: answered %q", name, line)
		}
		_ = conn.Close()
	}
	if l := r.ledger("replicator/tap"); l.Seen != 0 {
		t.Errorf("ledger %+v", l)
	}
}
