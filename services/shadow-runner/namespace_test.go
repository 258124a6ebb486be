package shadowrunner_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/foreshadow/foreshadow/libs/kafka"
	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/referencetest"
)

// The runner, the shadow and production live in network namespaces of their own; only the runner has a link to both.
const (
	namespaceRole                = "FORESHADOW_NAMESPACE_ROLE"
	shadowAddress, runnerForS    = "10.91.1.2", "10.91.1.1"
	productionAddress, runnerFor = "10.91.2.2", "10.91.2.1"
)

// TestNoPacketReachesProduction replays through a shadow that sends everyone to production, with captured requests that name
// production wherever they can, and then with a shadow that is production. The kernel counts the packets.
func TestNoPacketReachesProduction(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("the command ip is missing: install iproute2")
	}
	prefix := fmt.Sprintf("fs%d", os.Getpid()%100000)
	runner, shadow, production := prefix+"r", prefix+"s", prefix+"p"
	for _, ns := range []string{runner, shadow, production} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("this machine gives no network namespaces: %s", out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", ns).Run() })
		ip(t, "-n", ns, "link", "set", "lo", "up")
		// Its own announcements would be packets, too.
		_ = exec.Command("ip", "netns", "exec", ns, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6").Run()
	}
	link(t, runner, runnerForS, shadow, shadowAddress)
	link(t, runner, runnerFor, production, productionAddress)

	serving := inside(t, shadow, "shadow")
	if err := serving.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = serving.Process.Kill(); _ = serving.Wait() })
	before := received(t, production)
	out, err := inside(t, runner, "runner").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := received(t, production) - before; got != 0 {
		t.Errorf("%d packets reached production", got)
	}
	// A count that stays zero whatever happens would prove nothing.
	_ = inside(t, runner, "stray").Run()
	if received(t, production) == before {
		t.Error("a packet that was sent to production was not counted")
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// link joins two namespaces.
func link(t *testing.T, a, addressA, b, addressB string) {
	t.Helper()
	name := "v" + b
	ip(t, "-n", a, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", b)
	ip(t, "-n", a, "addr", "add", addressA+"/24", "dev", name)
	ip(t, "-n", b, "addr", "add", addressB+"/24", "dev", "eth0")
	ip(t, "-n", a, "link", "set", name, "up")
	ip(t, "-n", b, "link", "set", "eth0", "up")
}

// received is how many packets have come to a namespace.
func received(t *testing.T, ns string) int {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", ns, "cat", "/sys/class/net/eth0/statistics/rx_packets").Output()
	if err != nil {
		// Some kernels show another namespace's files there; ip's own counter is the same one.
		out, err = exec.Command("sh", "-c", "ip -n "+ns+" -s link show eth0 | awk '/RX:/{getline; print $2}'").Output()
	}
	n, convert := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || convert != nil {
		t.Fatalf("read the packet counter: %v, %v", err, convert)
	}
	return n
}

// inside is this test again, in a namespace and a role.
func inside(t *testing.T, ns, role string) *exec.Cmd {
	t.Helper()
	c := exec.Command("ip", "netns", "exec", ns, os.Args[0], "-test.run", "^TestRoleInsideANamespace$", "-test.timeout", "2m")
	c.Env = append(os.Environ(), namespaceRole+"="+role)
	return c
}

// TestRoleInsideANamespace does its work only as a child of the test above.
func TestRoleInsideANamespace(t *testing.T) {
	switch os.Getenv(namespaceRole) {
	case "shadow":
		// Whatever it is asked, it sends the caller to production.
		server := &http.Server{Addr: shadowAddress + ":8080", ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+productionAddress+"/", http.StatusTemporaryRedirect)
		})}
		t.Fatal(server.ListenAndServe())
	case "stray":
		conn, err := net.DialTimeout("tcp", productionAddress+":80", 500*time.Millisecond)
		if err == nil {
			_ = conn.Close()
		}
	case "runner":
		replayNearProduction(t)
	default:
		t.Skip("runs as a child of TestNoPacketReachesProduction only")
	}
}

func replayNearProduction(t *testing.T) {
	r := start(t, referencetest.New(t, 1, 0), asIs)
	r.platform.set("shop", ready("p1", productionAddress+":80"))
	r.platform.set("shop-shadow", ready("s1", shadowAddress+":8080"))
	names := func(e *foreshadowv1.CapturedRequest) {
		e.Host = productionAddress
		e.Headers = append(e.Headers, &foreshadowv1.Header{Name: "Host", Value: productionAddress}, &foreshadowv1.Header{Name: "X-Forwarded-Host", Value: productionAddress})
	}
	r.await("replay to the shadow", func() bool {
		var batch []kafka.RawMessage
		for i := range 20 {
			batch = append(batch, r.event(fmt.Sprint("s", i), "/", names), r.event("s", "http://"+productionAddress+"/", names))
		}
		r.send(batch...)
		return r.ledger("shadow-runner/replay").Passed > 100
	})
	r.platform.set("shop-shadow", ready("s1", shadowAddress+":8080"), ready("s2", productionAddress+":80"))
	r.await("the refusal", func() bool {
		r.send(r.event("s", "/", names))
		return r.ledger("shadow-runner/replay").Dropped["unverified"] > 0
	})
	r.stop()
}
