package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// hopByHop lists the headers that end at a proxy.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// source reads what came with the head, and then the connection.
type source struct {
	client *client
	up     *balance.Conn
	before *bytes.Reader
	// left is how much more may be read.
	left int64
}

// errLargeHead: what an instance answers begins with more lines than are worth keeping.
var errLargeHead = errors.New("the head of an answer is too large")

// Read implements io.Reader.
func (s *source) Read(p []byte) (n int, err error) {
	if s.left <= 0 {
		return 0, errLargeHead
	}
	p = p[:min(int64(len(p)), s.left)]
	if s.before.Len() > 0 {
		n, err = s.before.Read(p)
	} else {
		n, err = s.client.read(s.up, p)
	}
	s.left -= int64(n)
	return n, err
}

// answerOther passes on an answer that is not plain, read by net/http's parser.
func (c *client) answerOther(up *balance.Conn, o *outcome) {
	from := &source{client: c, up: up, before: bytes.NewReader(up.Buffer[:up.Filled])}
	br := bufio.NewReader(from)
	res, err := c.final(br, from, o)
	if err != nil {
		if o.clientErr == nil {
			c.fail(err, o)
		}
		return
	}
	defer res.Body.Close()
	seen := look(c.tapped, res)
	chunked := c.head(res, o)
	if o.clientErr == nil {
		c.copyBody(res, body{chunked: chunked, seen: seen}, o)
	}
	o.keep = o.clientErr == nil && !o.cut && !res.Close && br.Buffered() == 0 && from.before.Len() == 0
}

// final reads to the final answer, and passes on what comes before it. net/http's parser knows no bound by itself.
func (c *client) final(br *bufio.Reader, from *source, o *outcome) (*http.Response, error) {
	for {
		from.left = balance.MaxHeadBytes
		res, err := http.ReadResponse(br, &c.seen)
		switch {
		case err != nil:
			return nil, err
		case res.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("an instance switched protocols unasked")
		case res.StatusCode >= http.StatusOK:
			from.left = math.MaxInt64
			return res, nil
		}
		c.out = appendHead(c.out[:0], res)
		c.out = append(c.out, "\r\n"...)
		if _, o.clientErr = c.conn.Write(c.out); o.clientErr != nil {
			return nil, o.clientErr
		}
	}
}

// appendHead appends the first line and the end-to-end headers.
func appendHead(out []byte, res *http.Response) []byte {
	for _, name := range slices.Concat(hopByHop, res.Header["Connection"]) {
		for token := range strings.SplitSeq(name, ",") {
			res.Header.Del(textproto.TrimString(token))
		}
	}
	out = strconv.AppendInt(append(out, "HTTP/1.1 "...), int64(res.StatusCode), 10)
	_, reason, _ := strings.Cut(res.Status, " ")
	if reason == "" || !httpguts.ValidHeaderFieldValue(reason) {
		reason = http.StatusText(res.StatusCode)
	}
	out = append(append(append(out, ' '), reason...), "\r\n"...)
	for name, values := range res.Header {
		for _, v := range values {
			if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(v) {
				out = appendField(out, name, v)
			}
		}
	}
	return out
}

func appendField(out []byte, name, value string) []byte {
	return append(append(append(append(out, name...), ": "...), value...), "\r\n"...)
}

// head sends the head, and returns whether the body is to be chunked.
func (c *client) head(res *http.Response, o *outcome) (chunked bool) {
	o.Status = res.StatusCode
	bodiless := res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	chunked = res.ContentLength < 0 && !bodiless
	if chunked {
		res.Header.Del("Content-Length")
	}
	if media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && media == "text/event-stream" {
		o.streaming = true
	}
	c.out = appendHead(c.out[:0], res)
	if res.Header.Get("Date") == "" {
		c.out = appendField(c.out, "Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if chunked {
		for name := range res.Trailer {
			c.out = appendField(c.out, "Trailer", name)
		}
		c.out = append(c.out, "Transfer-Encoding: chunked\r\n"...)
	}
	if c.closes() {
		c.out = append(c.out, "Connection: close\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
	o.ResponseBytes = int64(len(c.out))
	_, o.clientErr = c.conn.Write(c.out)
	o.headAt = time.Now()
	return chunked
}

const (
	// sizeBytes is the room for the size of a chunk before it, and endBytes for its end.
	sizeBytes = len("ffffffff\r\n")
	endBytes  = len("\r\n")
)

// look is where the body of an answer is to be shown to the tap; nil when that does not want to see it.
func look(x *tap.Exchange, res *http.Response) io.Writer {
	if !x.Sampled() {
		return nil
	}
	return x.Answer(tap.AnswerHeadOf(res))
}

// body is how that of an answer is passed on, and to whom it is shown.
type body struct {
	chunked bool
	seen    io.Writer
}

// copyBody passes on every piece as it comes.
func (c *client) copyBody(res *http.Response, b body, o *outcome) {
	h := c.front.handler
	buf := h.buffers.Get()
	defer h.buffers.Put(buf)
	for {
		n, err := res.Body.Read(buf[sizeBytes : len(buf)-endBytes])
		if n > 0 {
			piece := buf[sizeBytes : sizeBytes+n]
			if b.chunked {
				piece = frame(buf, n)
			}
			if _, o.clientErr = c.conn.Write(piece); o.clientErr != nil {
				return
			}
			show(b.seen, buf[sizeBytes:sizeBytes+n])
			o.ResponseBodyBytes += int64(n)
		}
		switch {
		case err == nil:
			continue
		case !errors.Is(err, io.EOF):
			o.cut = true
		case b.chunked:
			_, o.clientErr = c.conn.Write(appendTrailer(append(c.out[:0], "0\r\n"...), res.Trailer))
		}
		return
	}
}

// frame makes a chunk of the n bytes for which there is room around in buf.
func frame(buf []byte, n int) []byte {
	var size [sizeBytes]byte
	digits := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
	copy(buf[sizeBytes-len(digits):], digits)
	copy(buf[sizeBytes+n:], "\r\n")
	return buf[sizeBytes-len(digits) : sizeBytes+n+endBytes]
}

func appendTrailer(out []byte, trailer http.Header) []byte {
	for name, values := range trailer {
		for _, v := range values {
			if httpguts.ValidHeaderFieldValue(v) {
				out = appendField(out, name, v)
			}
		}
	}
	return append(out, "\r\n"...)
}
