package packet

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
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
}

// giveUpAnswer settles an exchange whose answer will not be seen to its end.
func (x *exchange) giveUpAnswer() {
	if x.answered {
		return
	}
	x.answered = true
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

func readAnswer(head []byte, method string) (answer, error) {
	r, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(head), 512), &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	a := answer{status: r.StatusCode, bytes: int64(len(head))}
	switch {
	case r.StatusCode == http.StatusSwitchingProtocols, method == http.MethodConnect && r.StatusCode/100 == 2:
		a.framing.opaque = true
	case method == http.MethodHead, r.StatusCode/100 == 1, r.StatusCode == http.StatusNoContent, r.StatusCode == http.StatusNotModified:
	case len(r.TransferEncoding) > 0:
		a.framing.chunked = true
	case r.ContentLength < 0:
		a.framing.toClose = true
	default:
		a.framing.length = r.ContentLength
	}
	return a, nil
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
