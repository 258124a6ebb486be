package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/foreshadow/foreshadow/libs/metric"
)

// Names of the variants that others are compared with.
const (
	tapOff      = "proxy, tap off"
	nginxMirror = "nginx, mirror on"
)

// part is a process.
type part struct {
	name    string
	address string
	cmd     *exec.Cmd
	out     *bufio.Reader
	// pids are this process's, and its workers'.
	pids []int
}

// spawn starts this program as a part and waits for its address.
func spawn(name string, args ...string) (*part, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &part{name: name, cmd: cmd, out: bufio.NewReader(pipe), pids: []int{cmd.Process.Pid}}
	line, err := p.out.ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		return nil, fmt.Errorf("%s did not start: %w", name, err)
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// end stops a part and returns the ledgers that it prints.
func (p *part) end() []metric.Ledger {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	var ledgers []metric.Ledger
	if p.out != nil {
		_ = json.NewDecoder(p.out).Decode(&ledgers)
	}
	_ = p.cmd.Wait()
	return ledgers
}

// cpu is the time that the part's threads have run, to the nanosecond.
func (p *part) cpu() time.Duration {
	var sum time.Duration
	for _, pid := range p.pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, t := range tasks {
			data, _ := os.ReadFile(t)
			first, _, _ := bytes.Cut(data, []byte{' '})
			n, _ := strconv.ParseInt(string(first), 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// settle waits until the part has nothing more to do: what is in the kernel's ring comes within 50 ms, unless it lags.
func (p *part) settle() {
	for range 50 {
		before := p.cpu()
		time.Sleep(200 * time.Millisecond)
		if p.cpu()-before < 4*time.Millisecond {
			return
		}
	}
}

// stage is all parts of the comparison of proxies.
type stage struct {
	parts    []*part
	variants []*part
	dir      string
}

func (s *stage) add(p *part, err error) (*part, error) {
	if err == nil {
		s.parts = append(s.parts, p)
	}
	return p, err
}

func (s *stage) stop() {
	for i := len(s.parts) - 1; i >= 0; i-- {
		s.parts[i].end()
	}
	s.parts = nil
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *stage) start(all *results) error {
	application, err := s.add(spawn("application", "-role", "application"))
	if err != nil {
		return err
	}
	broker, err := s.add(spawn("broker", "-role", "broker"))
	if err != nil {
		return err
	}
	hanging, err := s.add(spawn("broker that hangs", "-role", "broker"))
	if err != nil {
		return err
	}
	for _, v := range []struct {
		name, ratio, broker string
	}{
		{tapOff, "0", broker.address}, {"proxy, tap 10 %", "0.1", broker.address}, {"proxy, tap 100 %", "1", broker.address},
		{"proxy, broker dead", "0.1", "127.0.0.1:1"}, {"proxy, broker hangs", "0.1", hanging.address},
	} {
		p, err := s.add(spawn(v.name, "-role", "proxy", "-target", application.address, "-ratio", v.ratio, "-broker", v.broker))
		if err != nil {
			return err
		}
		s.variants = append(s.variants, p)
	}
	if err := hanging.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("make a broker hang: %w", err)
	}
	binary := findNginx()
	if binary == "" {
		all.Skipped = append(all.Skipped, "the comparison with nginx: there is none here (deployments/tools/nginx.sh installs it)")
		return nil
	}
	mirrored, err := s.add(spawn("sink of nginx's mirror", "-role", "application"))
	if err != nil {
		return err
	}
	for name, sink := range map[string]string{"nginx": "", nginxMirror: mirrored.address} {
		p, err := s.add(s.nginx(binary, name, application.address, sink))
		if err != nil {
			return err
		}
		s.variants = append(s.variants, p)
	}
	return nil
}

const nginxConfig = `daemon off; worker_processes auto; pid %[1]s/pid; error_log stderr error;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 100000000;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream application { server %[3]s; keepalive 64; keepalive_requests 100000000; }
  %[4]s
  server {
    listen %[2]s;
    location / {
      %[5]s
      proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection "";
    }
    location = /sink { internal; proxy_pass http://%[6]s$request_uri; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}`

func (s *stage) nginx(binary, name, application, sink string) (*part, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := ln.Addr().String()
	_ = ln.Close()
	dir, err := os.MkdirTemp("", "bench-nginx")
	if err != nil {
		return nil, err
	}
	s.dir = dir
	upstream, mirror, to := "", "", "application"
	if sink != "" {
		upstream, mirror, to = "upstream sink { server "+sink+"; keepalive 64; keepalive_requests 100000000; }", "mirror /sink;", "sink"
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, address, application, upstream, mirror, to), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "-p", dir, "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	p := &part{name: name, address: address, cmd: cmd, pids: []int{cmd.Process.Pid}}
	for range 500 {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
			for child := range strings.FieldsSeq(string(children)) {
				if pid, err := strconv.Atoi(child); err == nil {
					p.pids = append(p.pids, pid)
				}
			}
			return p, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.end()
	return nil, fmt.Errorf("nginx does not listen")
}
