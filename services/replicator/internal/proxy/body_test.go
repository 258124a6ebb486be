package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestBodyIsReadAgainFromItsBeginning(t *testing.T) {
	t.Parallel()
	var tee bytes.Buffer
	b := &requestBody{src: io.NopCloser(strings.NewReader("hello world")), copyTo: &tee}
	first, err := b.again()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(first, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	second, err := b.again()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(second); err != nil || string(got) != "hello world" {
		t.Errorf("second attempt read %q, %v", got, err)
	}
	if size, complete, err := b.end(); size != 11 || !complete || err != nil || tee.String() != "hello world" {
		t.Errorf("read %d, complete %v, %v; copied %q", size, complete, err, tee.String())
	}
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("read after the end: %v", err)
	}
}

func TestBodyThatIsTooLargeOrAnsweredIsNotReadAgain(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"kept": keptBytes, "too large": keptBytes + 1} {
		b := &requestBody{src: io.NopCloser(strings.NewReader(strings.Repeat("x", size)))}
		a, err := b.again()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, a); err != nil || n != int64(size) {
			t.Errorf("%s: read %d, %v", name, n, err)
		}
		if _, err := b.again(); (err != nil) != (size > keptBytes) || b.size != int64(size) {
			t.Errorf("%s: again: %v", name, err)
		}
		b.seal()
		if _, err := b.again(); !errors.Is(err, errBodyGone) {
			t.Errorf("%s: after the answer began: %v", name, err)
		}
	}
}
