package packet

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// stream collects what a half delivers; what is missing is marked.
type stream struct {
	bytes.Buffer
	skipped int
}

func (s *stream) take(p []byte, _ bool, _ time.Time) { s.Write(p) }
func (s *stream) skip(n uint32, _ time.Time) {
	s.skipped += int(n)
	s.WriteString("<gap>")
}

// TestStreamIsPutTogetherAroundTheWrap sends a text in random segments that overlap, repeat and come in any order.
func TestStreamIsPutTogetherAroundTheWrap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "text")
		first := rapid.Uint32Range(0xffffffff-200, 0xffffffff).Draw(t, "first")
		var list []segment
		for at := 0; at < len(text); {
			n := rapid.IntRange(1, 60).Draw(t, "length")
			back := rapid.IntRange(0, min(at, 30)).Draw(t, "overlap")
			end := min(at+n, len(text))
			s := segment{seq: first + uint32(at-back), payload: text[at-back : end]}
			list = append(list, s)
			if rapid.Bool().Draw(t, "twice") {
				list = append(list, s)
			}
			at = end
		}
		var h half
		h.open(first)
		var got stream
		for _, i := range rapid.Permutation(indices(len(list))).Draw(t, "order") {
			// The sender's buffer is used anew for each segment, as the kernel's is.
			s := list[i]
			s.payload = bytes.Clone(s.payload)
			h.add(s, always, &got)
			clear(s.payload)
		}
		if !bytes.Equal(got.Bytes(), text) || h.bytes != 0 || h.held != nil || h.next != first+uint32(len(text)) {
			t.Fatalf("got %q, want %q; held %d", got.Bytes(), text, h.bytes)
		}
	})
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestGapIsJumped(t *testing.T) {
	t.Parallel()
	var h half
	h.open(0xfffffffe)
	var got stream
	h.add(segment{seq: 0xfffffffe, payload: []byte("ab")}, always, &got)
	h.add(segment{seq: 3, payload: []byte("fg"), fin: true}, always, &got)
	if h.over() || got.String() != "ab" {
		t.Errorf("over %v, got %q", h.over(), got.String())
	}
	h.jump(h.held[0].seq, time.Time{}, &got)
	h.drain(always, &got)
	if got.String() != "ab<gap>fg" || got.skipped != 3 || !h.over() {
		t.Errorf("got %q, skipped %d, over %v", got.String(), got.skipped, h.over())
	}
	h.add(segment{seq: 0, payload: []byte("cde")}, always, &got) // too late
	if got.String() != "ab<gap>fg" {
		t.Errorf("got %q", got.String())
	}
}

// FuzzHalf: whatever comes in whatever order, the account of the held bytes is right and no byte is delivered twice.
func FuzzHalf(f *testing.F) {
	f.Add([]byte{0, 3, 5, 3, 1, 9, 255, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		var h half
		const first = 0xffffff00
		h.open(first)
		var got stream
		data := bytes.Repeat([]byte("x"), 256)
		for i := 0; i+1 < len(script); i += 2 {
			h.add(segment{seq: first + uint32(script[i])*3, payload: data[:script[i+1]]}, always, &got)
			if script[i] == 7 && len(h.held) > 0 {
				h.jump(h.held[0].seq, time.Time{}, &got)
				h.drain(always, &got)
			}
			sum := 0
			for j, s := range h.held {
				sum += len(s.data)
				if j > 0 && !before(h.held[j-1].seq, s.seq) {
					t.Fatal("held segments are out of order")
				}
			}
			if sum != h.bytes {
				t.Fatalf("%d bytes held, %d accounted for", sum, h.bytes)
			}
		}
		delivered := got.Len() - len("<gap>")*bytes.Count(got.Bytes(), []byte("<gap>"))
		if uint32(delivered+got.skipped) != h.next-first {
			t.Errorf("%d delivered and %d skipped of %d", delivered, got.skipped, h.next-first)
		}
	})
}

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	const first = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		head, method string
		want         framing
		fails        bool
	}{
		"length":                   {head: first + "content-length:  7 \r\n\r\n", want: framing{length: 7}},
		"chunked":                  {head: first + "Transfer-Encoding: gzip, Chunked\r\n\r\n", want: framing{chunked: true}},
		"chunked before a length":  {head: first + "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n", want: framing{chunked: true, length: 7}},
		"a length before chunked":  {head: first + "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n", want: framing{chunked: true, length: 7}},
		"another coding":           {head: first + "Transfer-Encoding: gzip\r\n\r\n", want: framing{toClose: true}},
		"neither":                  {head: first + "\r\n", want: framing{toClose: true}},
		"no reason phrase":         {head: "HTTP/1.0 200\r\n\r\n", want: framing{toClose: true}},
		"to HEAD":                  {head: first + "Content-Length: 7\r\n\r\n", method: "HEAD"},
		"not modified":             {head: "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"},
		"upgrade":                  {head: "HTTP/1.1 101 Switching\r\n\r\n", want: framing{opaque: true}},
		"to CONNECT":               {head: first + "\r\n", method: "CONNECT", want: framing{opaque: true}},
		"a length that is none":    {head: first + "Content-Length: -7\r\n\r\n", fails: true},
		"a status that is none":    {head: "HTTP/1.1 2x0 OK\r\n\r\n", fails: true},
		"a status that is too low": {head: "HTTP/1.1 099 OK\r\n\r\n", fails: true},
		"another protocol":         {head: "HTTP/2.0 200 OK\r\n\r\n", fails: true},
		"short":                    {head: "HTTP/1.1\r\n\r\n", fails: true},
	} {
		got, err := readAnswer([]byte(c.head), c.method)
		if (err != nil) != c.fails || got.framing != c.want {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}
