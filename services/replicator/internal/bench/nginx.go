package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// nginxConfig keeps connections to the application alive, logs nothing, and has a worker per processor: nginx at its best.
const nginxConfig = `daemon off; worker_processes auto; pid %[1]s/pid; error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 100000000;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream application { server %[3]s; keepalive 64; keepalive_requests 100000000; }
  upstream sink { server %[4]s; %[5]s }
  server {
    listen %[2]s;
    location / {
      %[6]s
      proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection "";
    }
    location = /sink { internal; proxy_pass http://sink$request_uri; %[7]s }
  }
}`

// mirroring says where nginx mirrors to, and how.
type mirroring struct {
	sink string
	// keepAlive reuses connections to the sink, which nginx's documentation of mirror does not.
	keepAlive bool
}

func (s *stage) nginx(name, application string, m mirroring) (*part, error) {
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
	s.dirs = append(s.dirs, dir)
	sink, pool, mirror, how := application, "", "", ""
	if m.sink != "" {
		sink, mirror = m.sink, "mirror /sink;"
	}
	if m.keepAlive {
		pool, how = "keepalive 64; keepalive_requests 100000000;", `proxy_http_version 1.1; proxy_set_header Connection "";`
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, address, application, sink, pool, mirror, how), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(findNginx(), "-p", dir, "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	p := &part{name: name, address: address, cmd: cmd}
	if !answers(address) {
		p.end()
		return nil, fmt.Errorf("nginx does not listen")
	}
	return p, nil
}

// answers waits until something listens.
func answers(address string) bool {
	for range 500 {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func findNginx() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
