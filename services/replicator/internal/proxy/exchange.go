package proxy

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator/internal/balance"
	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
	"github.com/foreshadow/foreshadow/services/replicator/internal/wire"
)

// outcome is how a plain exchange ended.
type outcome struct {
	tap.Result
	reason string
	// headAt is when the client was sent the head; zero when it was not.
	headAt time.Time
	// clientErr is a client that cannot be written to, cut an answer that broke half way.
	clientErr error
	cut       bool
	streaming bool
	// keep: the instance's connection can serve again.
	keep bool
}

// exchange carries a request to the instance that is held, and its answer back. It returns whether the connection may be
// used on.
func (c *client) exchange() bool {
	h := c.front.handler
	h.open.Add(1)
	defer h.open.Done()
	arrive := time.Now()
	c.arrive, c.tapped = arrive, nil
	o := outcome{}
	up, err := c.send(arrive)
	if err == nil {
		c.answer(up, &o)
		c.unwatch() // before another has the connection, for who watches closes it when the client goes
		c.up.Store(nil)
		if o.cut || o.clientErr != nil || !o.keep || c.gone.Load() {
			_ = up.Close()
		} else {
			c.held.Keep(up)
		}
		c.release()
	} else {
		c.fail(err, &o)
	}
	c.tap() // unless it was
	c.unwatch()
	c.judge(&o, arrive)
	h.metrics.observe(o.Result, o.reason)
	c.tapped.EndLater(o.Result, h.later.do)
	if cap(c.out) > maxKeptOut {
		c.out = nil
	}
	return o.clientErr == nil && !o.cut && !c.gone.Load() && !c.request.Closes
}

// tap has the tap look at the request, once. It does so while the instance works: nobody waits for it.
func (c *client) tap() {
	if c.tapped != nil {
		return
	}
	c.tapped = c.front.handler.tap.Begin(&c.seen, c.arrive)
	if body := c.tapped.Body(); body != nil {
		_, _ = body.Write(c.body()) // it keeps or it forgets, it does not err
	}
}

// body is the request's.
func (c *client) body() []byte {
	return c.in[c.r+int(c.request.Head) : c.r+int(c.request.Size())]
}

// release gives the instance back.
func (c *client) release() {
	held := c.held
	c.held = nil
	c.front.handler.pool.Release(held)
}

// send offers the request to one instance after another, as RoundTrip does, until one begins to answer. That is held then,
// and none when there is an error.
func (c *client) send(arrive time.Time) (*balance.Conn, error) {
	h := c.front.handler
	deadline, asked := arrive.Add(h.cfg.WaitReady), arrive
	broke := false
	for try := 1; ; try++ {
		up, err := c.offer(c.held)
		if err == nil {
			return up, nil
		}
		instance := c.held
		c.release()
		refused := isRefused(err)
		if refused {
			h.refused(instance, err)
		}
		if h.ending.Err() != nil || c.gone.Load() || try == maxTries || !refused && (broke || !isSafe(c.request.Method)) {
			return nil, err
		}
		broke = broke || !refused
		h.metrics.retries.Inc()
		deadline = deadline.Add(time.Since(asked)) // an instance was there, if in vain
		if c.held, err = h.pool.Acquire(h.ending, deadline); err != nil {
			return nil, err
		}
		asked = time.Now()
	}
}

// offer sends the request to an instance, and returns the connection on which it has begun to answer. A connection that the
// instance closed while it was idle is no failure of the instance; but a request that breaks a fresh one, too, would break them all.
func (c *client) offer(instance *balance.Instance) (*balance.Conn, error) {
	h := c.front.handler
	for up := instance.Idle(); ; up = nil {
		if up == nil {
			var err error
			if up, err = instance.Dial(h.ending); err != nil {
				return nil, err
			}
		}
		c.up.Store(up)
		err := c.ask(up)
		if err == nil {
			return up, nil
		}
		c.up.Store(nil)
		_ = up.Close()
		if !up.Reused || !isSafe(c.request.Method) || c.gone.Load() || h.ending.Err() != nil {
			return nil, err
		}
	}
}

// ask sends the request in one piece and reads the first of the answer.
func (c *client) ask(up *balance.Conn) error {
	h := c.front.handler
	c.out = c.request.Append(c.out[:0], wire.Forward{Client: c.addr, Trust: h.cfg.TrustForwarded})
	c.out = append(c.out, c.body()...)
	if _, err := up.Write(c.out); err != nil {
		return err
	}
	c.tap()
	n, err := c.read(up, up.Buffer)
	up.Filled = n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// answer passes on what the instance answers.
func (c *client) answer(up *balance.Conn, o *outcome) {
	for {
		switch wire.ReadResponse(up.Buffer[:up.Filled], &c.response) {
		case wire.Plain:
			c.answerPlain(up, o)
			return
		case wire.More:
			if up.Filled < len(up.Buffer) {
				n, err := c.read(up, up.Buffer[up.Filled:])
				if up.Filled += n; n > 0 || err == nil {
					continue
				}
			}
		}
		c.answerOther(up, o)
		return
	}
}

func (c *client) answerPlain(up *balance.Conn, o *outcome) {
	r := &c.response
	o.Status = r.Status
	var seen io.Writer
	if c.tapped.Sampled() {
		seen = c.tapped.Answer(answerHead(r))
	}
	c.out = r.Append(c.out[:0], c.closes())
	o.ResponseBytes = int64(len(c.out))
	have := min(int64(up.Filled-r.Head), r.Body)
	c.out = append(c.out, up.Buffer[r.Head:r.Head+int(have)]...)
	o.keep = int64(up.Filled-r.Head) <= r.Body // beyond it is what nobody asked for
	if _, o.clientErr = c.conn.Write(c.out); o.clientErr != nil {
		return
	}
	o.ResponseBodyBytes = have
	show(seen, up.Buffer[r.Head:r.Head+int(have)])
	if have == r.Body {
		return
	}
	o.headAt = time.Now()
	h := c.front.handler
	buf := h.buffers.Get()
	defer h.buffers.Put(buf)
	for left := r.Body - have; left > 0; {
		n, err := c.read(up, buf[:min(int64(len(buf)), left)])
		if n > 0 {
			if _, o.clientErr = c.conn.Write(buf[:n]); o.clientErr != nil {
				return
			}
			show(seen, buf[:n])
			left -= int64(n)
			o.ResponseBodyBytes += int64(n)
		}
		if err != nil && left > 0 {
			o.cut = true
			return
		}
	}
}

// answerHead is what the tap wants to know of a plain answer.
func answerHead(r *wire.Response) tap.AnswerHead {
	head := tap.AnswerHead{Status: r.Status, Length: r.Body}
	for _, f := range r.Fields {
		switch {
		case f.Name == "Content-Type" && head.ContentType == "":
			head.ContentType = f.Value
		case f.Name == "Content-Encoding" && head.Encoding != "":
			head.Encoding += ", " + f.Value
		case f.Name == "Content-Encoding":
			head.Encoding = f.Value
		}
	}
	return head
}

// show has the tap see a piece of the answer, if it wants to, once the client was sent it.
func show(seen io.Writer, piece []byte) {
	if seen != nil {
		_, _ = seen.Write(piece) // it keeps or it forgets, it does not err
	}
}

// closes reports whether the client is told that this is the last answer.
func (c *client) closes() bool {
	if c.front.closing.Load() {
		c.request.Closes = true
	}
	return c.request.Closes
}

// fail answers for an instance that did not.
func (c *client) fail(err error, o *outcome) {
	h, retry := c.front.handler, ""
	switch {
	case h.ending.Err() != nil:
		o.Status, o.reason = http.StatusServiceUnavailable, ReasonShutdown
	case c.gone.Load():
		o.Status = StatusClientClosed
		return
	case errors.Is(err, balance.ErrNoInstance):
		o.Status, o.reason, retry = http.StatusServiceUnavailable, ReasonNoInstance, "Retry-After: 1\r\n"
	default:
		o.Status, o.reason = http.StatusBadGateway, ReasonUpstream
	}
	c.out = append(c.out[:0], "HTTP/1.1 "...)
	c.out = append(strconv.AppendInt(c.out, int64(o.Status), 10), ' ')
	c.out = append(c.out, http.StatusText(o.Status)...)
	c.out = append(append(c.out, "\r\nDate: "...), time.Now().UTC().Format(http.TimeFormat)...)
	c.out = append(append(c.out, "\r\nContent-Length: 0\r\n"...), retry...)
	if c.closes() {
		c.out = append(c.out, "Connection: close\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
	o.ResponseBytes = int64(len(c.out))
	_, o.clientErr = c.conn.Write(c.out)
}

// judge completes the result, by the rules that hold for every request; see Handler.result.
func (c *client) judge(o *outcome, arrive time.Time) {
	h, now := c.front.handler, time.Now()
	o.BodyRead, o.Latency = true, now.Sub(arrive)
	o.RequestBytes, o.RequestBodyBytes, o.Cut = c.request.Size(), c.request.Body, o.cut
	o.ResponseBytes += o.ResponseBodyBytes
	if o.streaming && !o.headAt.IsZero() {
		o.Latency = o.headAt.Sub(arrive)
	}
	switch {
	case h.ending.Err() != nil && (o.cut || o.reason == ReasonShutdown):
		o.reason = ReasonShutdown
	case o.clientErr != nil || c.gone.Load():
		waited := now.Sub(arrive)
		if !o.headAt.IsZero() {
			waited = o.headAt.Sub(arrive)
		}
		o.reason = ""
		o.Aborted, o.Late = true, h.cfg.SLOLatency > 0 && waited > h.cfg.SLOLatency
		if o.Status == StatusClientClosed {
			o.Status = 0
		}
	case o.cut:
		o.reason = ReasonTruncated
	case o.reason == "" && o.Status >= http.StatusInternalServerError:
		o.reason = ReasonStatus
	}
	o.Failed = o.reason != ""
}
