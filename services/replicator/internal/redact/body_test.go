package redact_test

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/redact"
)

func TestMultipartIsWrittenAnew(t *testing.T) {
	t.Parallel()
	r := redactor(func(tap *workload.Tap) {
		tap.RedactQuery, tap.AllowHeaders = []string{"pet"}, []string{"Content-Type"}
	})
	contentType := `multipart/form-data; boundary=SECRETboundary`
	in := "SECRETpreamble\r\n--SECRETboundary\r\nContent-Disposition: form-data; name=\"pet\"\r\nX-Part: SECRET\r\n\r\nSECRETpet\r\n" +
		"--SECRETboundary\r\nContent-Disposition: form-data; name=\"colour\"\r\n\r\nblue\r\n" +
		"--SECRETboundary\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"SECRET.pdf\"\r\n\r\n%PDF SECRET\r\n" +
		"--SECRETboundary\r\nContent-Disposition: form-data\r\n\r\nSECRET without a name\r\n" +
		"--SECRETboundary\r\nContent-Disposition: form-data; name=\"bob@example.com\"\r\n\r\nx\r\n--SECRETboundary--\r\nSECRETepilogue"
	got, ok := r.Body(contentType, []byte(in), false)
	if !ok || bytes.Contains(got, []byte("SECRET")) || bytes.Contains(got, []byte("bob@")) {
		t.Fatalf("%v: %s", ok, got)
	}
	// The header that leaves with it reads it.
	_, parameters, err := mime.ParseMediaType(r.Headers(http.Header{"Content-Type": {contentType}})[0].GetValue())
	if err != nil {
		t.Fatal(err)
	}
	form, err := multipart.NewReader(bytes.NewReader(got), parameters["boundary"]).ReadForm(1 << 20)
	if err != nil || form.Value["colour"][0] != "blue" || form.Value["pet"][0] != traffic.NewSampler("k").Pseudonym("query", "SECRETpet") || len(form.File["doc"]) != 1 {
		t.Errorf("%v, %v", form, err)
	}
	for name, bad := range map[string]string{
		"no boundary": "multipart/form-data", "another boundary": "multipart/form-data; boundary=x", "no type": ";",
	} {
		if got, ok := r.Body(bad, []byte(in), false); ok {
			t.Errorf("%s: left as %q", name, got)
		}
	}
	if got, ok := r.Body(contentType, []byte(in[:200]), true); !ok || bytes.Contains(got, []byte("SECRET")) {
		t.Errorf("prefix: %v, %s", ok, got)
	}
}

func TestTextLosesWhatLooksSecret(t *testing.T) {
	t.Parallel()
	r := redactor(func(tap *workload.Tap) { tap.RedactPatterns = []string{`ssn-\d+`} })
	p := func(v string) string { return traffic.NewSampler("k").Pseudonym("text", v) }
	const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
	for in, want := range map[string]string{
		"": "", "hello to the world": "hello to the world", chrome: chrome,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
		"mail bob@example.com!":                 "mail " + p("bob@example.com") + "!",
		"mail bob%40example.com":                "mail " + p("bob@example.com"),
		"key:9f86d081884c7d659a2feaa0c55ad015;": "key:" + p("9f86d081884c7d659a2feaa0c55ad015") + ";",
		"my ssn-123, and ssn-123":               "my " + p("ssn-123") + ", and " + p("ssn-123"),
	} {
		if got := r.Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if _, ok := r.Body("text/plain", []byte("\xff\xfe"), false); ok {
		t.Error("text that is none left")
	}
	if got, ok := r.Body("application/octet-stream", []byte("\xff\xfe"), false); !ok || string(got) != "\xff\xfe" {
		t.Error("bytes of a type that is listed changed")
	}
	// The end of a prefix may be half of a secret.
	if got, _ := r.Body("text/plain", []byte("hello bob@exam"), true); string(got) != "hello" {
		t.Errorf("prefix %q", got)
	}
	if got, _ := r.Body("application/x-www-form-urlencoded", []byte("a=1&pass=hun"), true); strings.Contains(string(got), "pass") {
		t.Errorf("prefix %q", got)
	}
}

func TestHostsAndAddresses(t *testing.T) {
	t.Parallel()
	r := redactor(nil)
	for in, want := range map[string]string{
		"shop.example": "shop.example", "shop.example:8080": "shop.example:8080", "127.0.0.1:80": "127.0.0.1:80", "[::1]:80": "[::1]:80",
		"[2001:db8::1]": "[2001:db8::1]", "": "", "user:pass@host": "", "host:port": "", "a b": "", "host/path": "", "\xff": "",
		"fe80::1%secret": "",
	} {
		if got := r.Host(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := r.Host("9f86d081884c7d659a2feaa0c55ad015.example"); strings.Contains(got, "9f86") || !strings.HasSuffix(got, ".example") {
		t.Errorf("a token in a host left as %q", got)
	}
	for in, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "192.0.2.77:1234": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1::/48", "[2001:db8:1:2::3]:80": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48", "secret": "", "": "",
	} {
		if got := redact.Network(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	allowed := redactor(func(tap *workload.Tap) { tap.AllowHeaders = []string{"X-Forwarded-For", "Forwarded", "Content-Type"} })
	got := map[string]string{}
	for _, h := range allowed.Headers(http.Header{
		"X-Forwarded-For": {"192.0.2.77, secret, 2001:db8:1:2::3"}, "Forwarded": {"for=192.0.2.77"}, "Content-Type": {"text/html; charset=utf-8; secret=x"},
	}) {
		got[h.GetName()] = h.GetValue()
	}
	if got["X-Forwarded-For"] != "192.0.2.0, 2001:db8:1::" || got["Forwarded"] != "" || got["Content-Type"] != "text/html; charset=utf-8" {
		t.Errorf("headers %v", got)
	}
}

// FuzzBody: no body of any type breaks the redactor, and what leaves of a multipart body can be read again.
func FuzzBody(f *testing.F) {
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--"), false)
	f.Add("application/x-www-form-urlencoded", []byte("a=b&%zz"), true)
	f.Add("text/plain", []byte("a@b.cc"), true)
	r := redactor(nil)
	f.Fuzz(func(t *testing.T, contentType string, data []byte, cut bool) {
		got, ok := r.Body(contentType, data, cut)
		media, _, err := mime.ParseMediaType(contentType)
		if !ok || err != nil || media != "multipart/form-data" {
			return
		}
		head := redactor(func(tap *workload.Tap) { tap.AllowHeaders = []string{"Content-Type"} }).Headers(http.Header{"Content-Type": {contentType}})
		_, parameters, err := mime.ParseMediaType(head[0].GetValue())
		if err != nil {
			t.Fatal(err)
		}
		in := multipart.NewReader(bytes.NewReader(got), parameters["boundary"])
		for {
			part, err := in.NextRawPart()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				_, err = io.ReadAll(part)
			}
			if err != nil {
				t.Fatalf("%q left as %q: %v", data, got, err)
			}
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	r := redactor(func(tap *workload.Tap) { tap.AllowHeaders = workload.Default().Tap.AllowHeaders })
	h := http.Header{"Accept": {"text/html"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"}}
	req, err := http.NewRequest(http.MethodGet, "http://shop.example/items/42/reviews?page=2&sort=new", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("head", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Target(req.URL)
			r.Headers(h)
			r.Host("shop.example")
		}
	})
	b.Run("json 1 KiB", func(b *testing.B) {
		body := []byte(`{"items":[` + strings.TrimSuffix(strings.Repeat(`{"id":4711,"name":"red shoes"},`, 33), ",") + `]}`)
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := r.Body(jsonType, body, false); !ok {
				b.Fatal(string(body))
			}
		}
	})
}
