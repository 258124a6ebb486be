package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// keptBytes is how much of a request body is kept until the response begins, so that a request of which the instance got
// nothing can be sent again.
const keptBytes = 16 << 10

var errBodyGone = errors.New("the request body cannot be read again")

// requestBody reads the client's body once and hands it to one attempt after another.
type requestBody struct {
	src io.ReadCloser

	mu     sync.Mutex
	copyTo io.Writer
	kept   []byte
	lost   bool // more was read than is kept
	ended  bool // the handler has returned
	size   int64
	eof    bool
	err    error
}

// again returns a reader of the body from its beginning.
func (b *requestBody) again() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost {
		return nil, errBodyGone
	}
	return &attempt{body: b}, nil
}

// seal stops keeping: the response has begun and nothing will be sent again.
func (b *requestBody) seal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = true
}

// end cuts off a transport that still reads although the instance has answered, and reports what was read.
func (b *requestBody) end() (size int64, complete bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	return b.size, b.eof, b.err
}

func (b *requestBody) read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.size += int64(n)
	if b.copyTo != nil && !b.ended {
		_, _ = b.copyTo.Write(p[:n]) // it keeps or it forgets, it does not err
	}
	if len(b.kept)+n > keptBytes {
		b.lost = true
	}
	if !b.lost {
		b.kept = append(b.kept, p[:n]...)
	}
	if err == io.EOF {
		b.eof = true
	} else if err != nil {
		b.err = err
	}
	return n, err
}

// attempt is one reading of the body. Closing it does not close the client's: the server does that.
type attempt struct {
	body *requestBody
	off  int // of kept
}

// Read implements io.Reader.
func (a *attempt) Read(p []byte) (int, error) {
	b := a.body
	b.mu.Lock()
	switch {
	case b.ended:
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	case a.off < len(b.kept):
		n := copy(p, b.kept[a.off:])
		a.off += n
		b.mu.Unlock()
		return n, nil
	}
	b.mu.Unlock()
	n, err := b.read(p)
	a.off += n
	return n, err
}

// Close implements io.Closer.
func (a *attempt) Close() error { return nil }
