package packet

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/services/replicator/internal/tap"
)

// Reasons for which a request, or the rest of a direction, cannot be copied. They are ledger labels.
const (
	ReasonGap       = "gap"       // segments of it were never seen
	ReasonCut       = "cut"       // the connection ended half way through it
	ReasonAmbiguous = "ambiguous" // two servers may read it in two ways
	ReasonHead      = "head"      // its head is longer than is held
	ReasonChunk     = "chunk"     // its chunked coding is none
	ReasonMemory    = "memory"    // more was going on than may be held
)

// exchange is a request and what is known of its answer.
type exchange struct {
	tapped   *tap.Exchange // nil for a request of the shadow
	method   string
	arrive   time.Time
	res      tap.Result
	sent     bool // the request is whole, or given up
	answered bool // the response is whole, or given up
	weight   int  // bytes that it holds, roughly
	// answer is where the answer's body is shown to the tap; nil when that does not want to see it.
	answer io.Writer
}

// count takes a part of the answer's body into account.
func (x *exchange) count(n int64) {
	x.res.ResponseBytes += n
	x.res.ResponseBodyBytes += n
}

// giveUpAnswer settles an exchange whose answer will not be seen to its end.
func (x *exchange) giveUpAnswer() {
	if x.answered {
		return
	}
	x.answered, x.res.Cut = true, true
	if x.res.Status == 0 {
		x.res.Blind = true
		return
	}
	x.res.Latency = -1 // it would end with the last byte
}

// readRequest parses a head and says how its body is framed.
func readRequest(head []byte, remote string) (*http.Request, framing, error) {
	if ambiguous(head) {
		return nil, framing{}, errAmbiguous
	}
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(head), 512))
	if err != nil {
		return nil, framing{}, err
	}
	r.RemoteAddr = remote
	chunked := len(r.TransferEncoding) > 0
	r.Body = http.NoBody
	return r, framing{length: max(r.ContentLength, 0), chunked: chunked}, nil
}

var errAmbiguous = errors.New("two servers may read this head in two ways")

// ambiguous reports what servers are known to read differently: both lengths or several, lines that end in a bare line feed or hold
// a bare carriage return, folded lines, blanks before a colon, and NUL.
func ambiguous(head []byte) bool {
	lengths, codings := 0, 0
	for i, line := range bytes.SplitAfter(head, []byte{'\n'}) {
		if len(line) == 0 {
			continue
		}
		text, crlf := bytes.CutSuffix(line, []byte("\r\n"))
		if !crlf || bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, 0) >= 0 {
			return true
		}
		if i == 0 || len(text) == 0 {
			continue
		}
		name, _, found := bytes.Cut(text, []byte{':'})
		if !found || len(name) == 0 || bytes.ContainsAny(name, " \t") {
			return true
		}
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			lengths++
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			codings++
		}
	}
	return lengths > 1 || codings > 1 || lengths > 0 && codings > 0
}

// answer is the head of a response.
type answer struct {
	status  int
	framing framing
	bytes   int64
}

var errNoAnswer = errors.New("this is no head of a response")

// readAnswer reads of a head what frames its body. Answers are measured and not copied: a quarter of the time went into
// header maps that nobody looks at.
func readAnswer(head []byte, method string) (answer, error) {
	const line = "HTTP/1.1 200"
	if len(head) < len(line) || string(head[:7]) != "HTTP/1." || head[8] != ' ' {
		return answer{}, errNoAnswer
	}
	status, err := strconv.Atoi(string(head[9:len(line)]))
	if err != nil || status < 100 {
		return answer{}, errNoAnswer
	}
	a := answer{status: status, bytes: int64(len(head)), framing: framing{toClose: true}}
	for rest := head; len(rest) > 0; {
		var text []byte
		text, rest, _ = bytes.Cut(rest, []byte{'\n'})
		name, value, found := bytes.Cut(text, []byte{':'})
		if !found {
			continue
		}
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
			n, err := strconv.ParseInt(string(value), 10, 63)
			if err != nil || n < 0 {
				return answer{}, errNoAnswer
			}
			a.framing.length, a.framing.toClose = n, false
		case len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			a.framing.chunked = bytes.HasSuffix(bytes.ToLower(value), []byte("chunked"))
			a.framing.toClose = !a.framing.chunked
		}
	}
	switch {
	case status == http.StatusSwitchingProtocols, method == http.MethodConnect && status/100 == 2:
		a.framing = framing{opaque: true}
	case method == http.MethodHead, status/100 == 1, status == http.StatusNoContent, status == http.StatusNotModified:
		a.framing = framing{}
	}
	return a, nil
}

// answerHead is what the tap wants to know of an answer that it copies.
func answerHead(head []byte, a answer) tap.AnswerHead {
	out := tap.AnswerHead{Status: a.status, Length: a.framing.length}
	if a.framing.chunked || a.framing.toClose {
		out.Length = -1
	}
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Type")) && out.ContentType == "":
			out.ContentType = string(value)
		case bytes.EqualFold(name, []byte("Content-Encoding")) && out.Encoding != "":
			out.Encoding += ", " + string(value)
		case bytes.EqualFold(name, []byte("Content-Encoding")):
			out.Encoding = string(value)
		}
	}
	return out
}

// beginsRequest reports whether bytes may be the beginning of a request line.
func beginsRequest(p []byte) int {
	line, _, whole := bytes.Cut(p, []byte{'\n'})
	method, rest, found := bytes.Cut(line, []byte{' '})
	for _, c := range method {
		if c != '-' && (c < 'A' || c > 'Z') {
			return -1
		}
	}
	switch {
	case len(method) > 20 || found && len(method) == 0:
		return -1
	case !found || !whole:
		if whole {
			return -1
		}
		return 0
	}
	if at := bytes.LastIndexByte(rest, ' '); at > 0 && bytes.HasPrefix(rest[at+1:], []byte("HTTP/1.")) {
		return 1
	}
	return -1
}

// beginsAnswer reports whether bytes may be the beginning of a status line.
func beginsAnswer(p []byte) int {
	const mark = "HTTP/1."
	switch {
	case len(p) < len(mark):
		if strings.HasPrefix(mark, string(p)) {
			return 0
		}
		return -1
	case bytes.HasPrefix(p, []byte(mark)):
		return 1
	}
	return -1
}
