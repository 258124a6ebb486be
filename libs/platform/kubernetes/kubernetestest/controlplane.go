package kubernetestest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

const (
	// Variable names the binary of the real control plane; see integration/controlplane.
	Variable = "FORESHADOW_CONTROLPLANE"
	// startTimeout bounds the start of a part; nothing waits for it when all is well.
	startTimeout = 2 * time.Minute
	token        = "controlplane-admin"
)

// ControlPlane is a real one, as processes of this machine.
type ControlPlane struct {
	binary, dir string
	// ports of the API server, and of etcd for clients and for members.
	port, etcd, peer int
	parts            map[string]*part
}

// part is one process.
type part struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// Parts of the control plane.
const (
	Etcd        = "etcd"
	APIServer   = "apiserver"
	Controllers = "controllers"
	Kubelet     = "kubelet"
)

// StartControlPlane starts one and returns when it answers.
func StartControlPlane(binary string) (*ControlPlane, error) {
	dir, err := os.MkdirTemp("", "controlplane-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	c := &ControlPlane{binary: binary, dir: dir, parts: map[string]*part{}}
	if err := c.start(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *ControlPlane) start() error {
	for _, p := range []*int{&c.port, &c.etcd, &c.peer} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("find a port: %w", err)
		}
		*p = ln.Addr().(*net.TCPAddr).Port
		_ = ln.Close()
	}
	if err := c.writeFiles(); err != nil {
		return err
	}
	for _, name := range []string{Etcd, APIServer} {
		if err := c.Start(name); err != nil {
			return err
		}
	}
	if err := c.Await(); err != nil {
		return err
	}
	return errors.Join(c.Start(Controllers), c.Start(Kubelet))
}

func (c *ControlPlane) path(name string) string { return filepath.Join(c.dir, name) }

// writeFiles makes the key of service accounts, the token of the administrator, and a kubeconfig.
func (c *ControlPlane) writeFiles() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	files := map[string]string{
		"sa.key":     string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"tokens.csv": token + `,admin,admin,"system:masters"` + "\n",
		"kubeconfig": fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:%d", "certificate-authority": %q}}],
"users": [{"name": "u", "user": {"token": %q}}],
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`, c.port, c.path("certs/apiserver.crt"), token),
	}
	for name, text := range files {
		if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func (c *ControlPlane) arguments(name string) []string {
	switch name {
	case Etcd:
		return []string{"--dir", c.path("etcd"), "--client", c.etcdURL(c.etcd), "--peer", c.etcdURL(c.peer)}
	case APIServer:
		return []string{
			"--etcd-servers", c.etcdURL(c.etcd), "--secure-port", fmt.Sprint(c.port), "--bind-address=127.0.0.1",
			"--cert-dir", c.path("certs"), "--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file", c.path("sa.key"), "--service-account-signing-key-file", c.path("sa.key"),
			"--token-auth-file", c.path("tokens.csv"), "--authorization-mode=RBAC", "--service-cluster-ip-range=10.3.0.0/16",
		}
	case Controllers:
		return []string{
			"--kubeconfig", c.path("kubeconfig"), "--secure-port=0", "--leader-elect=false",
			"--service-account-private-key-file", c.path("sa.key"),
			"--controllers=deployment-controller,replicaset-controller,statefulset-controller,disruption-controller," +
				"serviceaccount-controller,namespace-controller,resourcequota-controller,garbage-collector-controller",
		}
	default:
		return []string{"--kubeconfig", c.path("kubeconfig")}
	}
}

func (c *ControlPlane) etcdURL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// Start starts a part.
func (c *ControlPlane) Start(name string) error {
	log, err := os.OpenFile(c.path(name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(c.binary, append([]string{name}, c.arguments(name)...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	// They must not outlive the test, however it ends.
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p := &part{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // its log says why
		close(p.done)
	}()
	c.parts[name] = p
	return nil
}

// Kill ends a part as kill -9 does.
func (c *ControlPlane) Kill(name string) {
	if p := c.parts[name]; p != nil {
		_ = p.cmd.Process.Kill()
		<-p.done
		delete(c.parts, name)
	}
}

// Await returns when the API server says that it is ready.
func (c *ControlPlane) Await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		if err := c.ready(ctx); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return fmt.Errorf("the API server is not ready: %w\n%s", err, c.Log(APIServer))
		}
		select {
		case <-c.parts[APIServer].done:
			return fmt.Errorf("the API server ended:\n%s", c.Log(APIServer))
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *ControlPlane) ready(ctx context.Context) error {
	client, err := rest.HTTPClientFor(c.Config())
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Config().Host+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// Config reaches the API server as its administrator.
func (c *ControlPlane) Config() *rest.Config {
	return &rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", c.port), BearerToken: token, QPS: 1000, Burst: 1000,
		TLSClientConfig: rest.TLSClientConfig{CAFile: c.path("certs/apiserver.crt")},
	}
}

// Log is the end of what a part has printed.
func (c *ControlPlane) Log(name string) string {
	data, err := os.ReadFile(c.path(name + ".log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Stop ends all parts and removes what they stored.
func (c *ControlPlane) Stop() error {
	for name, p := range c.parts {
		_ = p.cmd.Process.Signal(syscall.SIGKILL) // nothing of theirs is kept
		<-p.done
		delete(c.parts, name)
	}
	return os.RemoveAll(c.dir)
}
