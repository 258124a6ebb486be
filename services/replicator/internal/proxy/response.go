package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// responseWriter notes what the client was sent. It is used by the handler's goroutine alone, but for informational
// responses, which the ReverseProxy orders before the final one.
type responseWriter struct {
	http.ResponseWriter
	status int
	headAt time.Time
	head   int64
	body   int64
	err    error
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status, w.headAt = status, time.Now()
		if _, typed := w.Header()["Content-Type"]; !typed {
			w.Header()["Content-Type"] = nil // or net/http would make one up
		}
		w.head = int64(len("HTTP/1.1 200 OK\r\n\r\n")) + headerBytes(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *responseWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.body += int64(n)
	if err != nil {
		w.err = err
	}
	return n, err
}

// waited is how long the client waited for the head of its answer, so far.
func (w *responseWriter) waited(arrive, now time.Time) time.Duration {
	if w.headAt.IsZero() {
		return now.Sub(arrive)
	}
	return w.headAt.Sub(arrive)
}

// responseBody notes whether the instance's response was cut off, and shows it to the tap, if that wants to see it.
type responseBody struct {
	io.ReadCloser
	seen io.Writer
	err  error
}

// Read implements io.Reader.
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	show(b.seen, p[:n])
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// upgradedConn counts what passes through a connection that has left HTTP. Two goroutines copy it, one each way.
type upgradedConn struct {
	io.ReadWriteCloser
	read, written *atomic.Int64
}

// Read implements io.Reader.
func (c upgradedConn) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// Write implements io.Writer.
func (c upgradedConn) Write(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// CloseWrite passes on that the client has said all it will, after which the instance may still answer.
func (c upgradedConn) CloseWrite() error {
	if half, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// headerBytes is the size of the header lines in HTTP/1.1.
func headerBytes(h http.Header) int64 {
	var n int
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return int64(n)
}

func requestHeadBytes(r *http.Request) int64 {
	return int64(len(r.Method)+len(r.RequestURI)+len(r.Proto)+len(r.Host)+len("  \r\nHost: \r\n\r\n")) + headerBytes(r.Header)
}
