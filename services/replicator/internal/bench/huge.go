package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// memoryLimit is what the proxy may use.
const memoryLimit = 128 << 20

// hugeBody sends one body through a proxy and watches the memory of its process.
func hugeBody(o options) error {
	s := &stage{}
	defer s.stop()
	application, err := s.add(spawn("application", "-role", "application"))
	if err != nil {
		return err
	}
	if err := os.Setenv("GOMEMLIMIT", strconv.Itoa(memoryLimit)); err != nil {
		return err
	}
	proxy, err := s.add(spawn("proxy", "-role", "proxy", "-target", application.address, "-ratio", "1", "-broker", "127.0.0.1:1"))
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", proxy.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	size := o.huge << 30
	fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", size)
	block := make([]byte, 1<<20)
	begun := time.Now()
	for left := size; left > 0; left -= int64(len(block)) {
		if _, err := conn.Write(block[:min(int64(len(block)), left)]); err != nil {
			return fmt.Errorf("send the body: %w", err)
		}
	}
	if err := readAnswer(bufio.NewReader(conn)); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	peak, err := peakMemory(proxy.cmd.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("%d GiB in %v, %.2f GiB/s; the proxy used at most %.1f MiB of memory (VmHWM)\n",
		o.huge, time.Since(begun).Round(time.Millisecond), float64(o.huge)/time.Since(begun).Seconds(), float64(peak)/(1<<20))
	if peak > memoryLimit {
		return fmt.Errorf("the proxy used %d bytes, more than %d", peak, memoryLimit)
	}
	return nil
}

// peakMemory is the largest resident size that a process had, in bytes.
func peakMemory(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of the proxy: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("the kernel does not tell the memory of process %d", pid)
}
