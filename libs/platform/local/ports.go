package local

import (
	"fmt"
	"net"
	"sync"
)

// ports hands out free loopback ports. Between the moment the kernel names one and the moment the instance listens on it
// the kernel may name it again, so those in use here are remembered. A port that some other program took meanwhile makes
// the instance fail, and its replacement gets another.
type ports struct {
	mu    sync.Mutex
	taken map[int]bool
}

func newPorts() *ports { return &ports{taken: map[int]bool{}} }

func (p *ports) take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const tries = 100
	for range tries {
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		if err := ln.Close(); err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		if !p.taken[port] {
			p.taken[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: the kernel named only taken ones in %d tries", tries)
}

func (p *ports) release(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, port)
}
