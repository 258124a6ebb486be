//go:build unix

package replicator_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator"
)

const (
	// frugalVariable makes the test's program a replicator that may open so few files.
	frugalVariable = "FORESHADOW_FRUGAL_REPLICATOR"
	frugal         = 96
	frugalPlaces   = (frugal - frugal/4) / 2
	mirrorWay      = "mirror"
)

// frugalReplicator is a process of its own, for whose files others need not care.
type frugalReplicator struct {
	t       *testing.T
	address string
	in      io.Writer
	out     *bufio.Reader
}

func startFrugal(t *testing.T, way string) *frugalReplicator {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFrugalReplicator$")
	cmd.Env = append(os.Environ(), frugalVariable+"="+startBroker(t)+" "+way)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f := &frugalReplicator{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = in.Close()
		if rest, _ := io.ReadAll(f.out); cmd.Wait() != nil {
			t.Errorf("the replicator failed: %s", rest)
		}
	})
	f.address = f.line()
	return f
}

func (f *frugalReplicator) line() string {
	f.t.Helper()
	line, err := f.out.ReadString('\n')
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// use returns when requests go to instances at these addresses.
func (f *frugalReplicator) use(addresses ...string) {
	f.t.Helper()
	fmt.Fprintln(f.in, strings.Join(addresses, " "))
	f.line()
}

// TestFrugalReplicator is the process: it prints its address, and a line each time it has taken the instances that a line names.
func TestFrugalReplicator(t *testing.T) {
	broker, way, asked := strings.Cut(os.Getenv(frugalVariable), " ")
	if !asked {
		return // it is part of the tests below
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: frugal, Max: frugal}); err != nil {
		t.Fatal(err)
	}
	r := start(t, options{broker: broker, config: func(c *replicator.Config) {
		c.ShortWay, c.HeaderTimeout, c.DrainTimeout = way == "short way", time.Minute, time.Second
		if way == mirrorWay {
			c.Capture.Mode = replicator.ModeMirror
		}
	}})
	fmt.Println(strings.TrimPrefix(r.url, "http://"))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		r.useNow(strings.Fields(lines.Text())...)
		fmt.Println("taken")
	}
}

// asking is a client with one connection.
type asking struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (f *frugalReplicator) dial() *asking {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return &asking{f.t, conn, bufio.NewReader(conn)}
}

func (a *asking) ask(path string) { fmt.Fprintf(a.conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path) }

// hear expects the answer to what was asked.
func (a *asking) hear(who string) {
	a.t.Helper()
	res, err := http.ReadResponse(a.in, nil)
	if err != nil {
		a.t.Errorf("%s: %v", who, err)
		return
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		a.t.Errorf("%s: got %s, %v", who, res.Status, err)
	}
}

// TestIdleClientsMakeRoom: more clients than there are files for, who ask for nothing (more), cost no answer to those who ask, be they
// there already or new, whoever serves them.
func TestIdleClientsMakeRoom(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"short way", "net/http", mirrorWay} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := startFrugal(t, way)
			arrived, release := make(chan struct{}), make(chan struct{})
			if way != mirrorWay {
				f.use(address(serve(t, func(_ http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/long" {
						close(arrived)
						<-release
					}
				})))
				busy := f.dial()
				busy.ask("/long")
				<-arrived
				defer busy.hear("a client that waits for its answer")
			}
			defer close(release)
			for i := range 2 * frugal {
				_, _ = io.WriteString(f.dial().conn, []string{
					"", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
				}[i%3])
			}
			late := f.dial()
			late.ask("/")
			late.hear("a new client")
		})
	}
}

// TestEachClientHasAnInstance: whoever was let in is answered, also when all ask at once, and when connections to other instances
// were kept from before.
func TestEachClientHasAnInstance(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"short way", "net/http"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := startFrugal(t, way)
			arrived, release := make(chan struct{}), make(chan struct{})
			defer close(release)
			h := func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release }
			var addresses []string
			for range 8 {
				addresses = append(addresses, address(serve(t, h)))
			}
			clients := make([]*asking, frugalPlaces-1)
			for i := range clients {
				clients[i] = f.dial()
			}
			for _, n := range []int{1, 2, 4, 8} {
				f.use(addresses[:n]...)
				for _, c := range clients {
					c.ask("/")
				}
				for deadline, i := time.After(10*time.Second), 0; i < len(clients); i++ { // each has a connection of its own
					select {
					case <-arrived:
					case <-deadline:
						t.Fatalf("%d of %d requests have reached %d instances", i, len(clients), n)
					}
				}
				for range clients {
					release <- struct{}{}
				}
				for i, c := range clients {
					c.hear(fmt.Sprintf("client %d of %d, on %d instances", i, len(clients), n))
				}
			}
		})
	}
}

// TestInstanceThatAcceptsLate: the only instance has more connections than it accepts for a moment, so that the system drops a request
// for one more, as it does under load. A user of the instance would wait a little, and so does one of the proxy.
func TestInstanceThatAcceptsLate(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, o options) {
		r := start(t, o.with(func(c *replicator.Config) { c.ConnectTimeout, c.WaitReady = 200*time.Millisecond, 600*time.Millisecond }))
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "listener")
		ln, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		for full := false; !full; {
			conn, err := net.DialTimeout("tcp", ln.Addr().String(), 200*time.Millisecond)
			if full = err != nil; !full {
				defer conn.Close()
			}
		}
		r.useNow(ln.Addr().String())
		answered := make(chan int, 1)
		go func() {
			code, _ := do(t, r.client, request(t, http.MethodPost, r.url, ""))
			answered <- code
		}()
		waitFor(t, "a second try", func() bool { return strings.Contains(r.metrics(), "\nforeshadow_replicator_retries_total 1\n") })
		instance := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
		instance.Start()
		defer instance.Close()
		if code := <-answered; code != http.StatusOK {
			t.Errorf("got %d", code)
		}
	})
}
