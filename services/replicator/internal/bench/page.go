package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"
)

// document is 1 KiB of JSON, as a shop's list: the tap looks into the answers that it copies.
func document() string {
	const item = `{"id":4711,"name":"A thing to be bought","price":{"amount":12.5,"currency":"EUR"},"tags":["red","small"],"available":true},`
	list := `{"items":[` + strings.TrimSuffix(strings.Repeat(item, 1024/len(item)-1), ",") + `],"next":"`
	return list + strings.Repeat("x", 1024-len(list)-len(`"}`)) + `"}`
}

// page is an application that costs as little as one can: it answers each GET with the same 1 KiB.
func page(ctx context.Context, delay time.Duration) error {
	runtime.GOMAXPROCS(1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	fmt.Println(ln.Addr())
	answer := []byte("HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 16:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n" + document())
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return nil
		}
		open.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			serve(conn, answer, delay)
		})
	}
}

// serve answers one request after another.
func serve(conn io.ReadWriter, answer []byte, delay time.Duration) {
	buf := make([]byte, 16<<10)
	for n := 0; ; {
		read, err := conn.Read(buf[n:])
		if err != nil {
			return
		}
		n += read
		if !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			continue
		}
		// nginx asks for HTTP/1.0 where it does not keep connections.
		last := bytes.Contains(buf[:n], []byte("Connection: close"))
		n = 0
		time.Sleep(delay)
		if _, err := conn.Write(answer); err != nil || last {
			return
		}
	}
}
