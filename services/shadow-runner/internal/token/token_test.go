package token_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/shadow-runner/internal/token"
)

// answer is what a handler answers.
func answer(handle http.HandlerFunc) (*http.Response, []byte) {
	w := httptest.NewRecorder()
	handle(w, nil)
	resp := w.Result()
	body, _ := io.ReadAll(resp.Body) // a recorder's body never fails
	return resp, body
}

func post(t *testing.T, target, kind, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	return r
}

func TestASessionCarriesWhatTheShadowGaveIt(t *testing.T) {
	t.Parallel()
	jars := token.NewJars([]workload.TokenRule{{Name: "order", FromJSON: "order.id", ToPath: "/orders/{id}", ToField: "order_id", ToQuery: "order", ToHeader: "X-Order"}}, 10)
	a := jars.Of("a")
	a.Learn(answer(func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: "s1"})
		http.SetCookie(w, &http.Cookie{Name: "old", Value: "x"})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<meta content="t1" name="csrf-token"><form><input type="hidden" name="other" value="no"></form>`)
	}))
	a.Learn(answer(func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "old", MaxAge: -1})
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"order": {"id": 4711}}`)
	}))
	r := post(t, "/orders/99?order=99&q=1", "application/x-www-form-urlencoded", "authenticity_token=recorded&order_id=99&size=3")
	a.Apply(r, []byte("authenticity_token=recorded&order_id=99&size=3"))
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path != "/orders/4711" || r.URL.Query().Get("order") != "4711" || r.URL.Query().Get("q") != "1" || r.Header.Get("X-Order") != "4711" ||
		string(body) != "authenticity_token=t1&order_id=4711&size=3" || r.ContentLength != int64(len(body)) ||
		r.Header.Get("Cookie") != "sid=s1" || r.Header.Get("X-Csrf-Token") != "t1" {
		t.Errorf("sent %s %v %q", r.URL, r.Header, body)
	}
	r = post(t, "/other", "application/json", `{"order_id": 99, "n": 1}`)
	a.Apply(r, []byte(`{"order_id": 99, "n": 1}`))
	if body, _ := io.ReadAll(r.Body); string(body) != `{"n":1,"order_id":4711}` || r.URL.Path != "/other" {
		t.Errorf("sent %s %q", r.URL, body)
	}
	// Another session has nothing of it.
	r = post(t, "/orders/99", "application/json", `{"order_id": 99}`)
	jars.Of("b").Apply(r, []byte(`{"order_id": 99}`))
	if body, _ := io.ReadAll(r.Body); string(body) != `{"order_id": 99}` || r.URL.Path != "/orders/99" || r.Header.Get("Cookie") != "" {
		t.Errorf("another session sent %s %v %q", r.URL, r.Header, body)
	}
}

func TestWhereTokensAreFound(t *testing.T) {
	t.Parallel()
	tests := map[string]http.HandlerFunc{
		"a header": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-CSRF-Token", "t") },
		"a cookie": func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "XSRF-TOKEN", Value: "t"})
		},
		"JSON":       html("application/json", `{"csrfToken": "t"}`),
		"an input":   html("text/html", `<INPUT value='t' name='_csrf'>`),
		"the fourth": html("text/html", `<input name="__RequestVerificationToken" type="hidden" value="t"/>`),
	}
	for name, handle := range tests {
		j := token.NewJars(nil, 1).Of("s")
		j.Learn(answer(handle))
		r := post(t, "/", "text/plain", "")
		j.Apply(r, nil)
		if r.Header.Get("X-Csrf-Token") != "t" {
			t.Errorf("%s: not found", name)
		}
		get := httptest.NewRequest(http.MethodGet, "/", nil)
		if j.Apply(get, nil); get.Header.Get("X-Csrf-Token") != "" {
			t.Errorf("%s: a GET carries it", name)
		}
	}
}

func html(kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	jars := token.NewJars(nil, 2)
	first := jars.Of("0")
	for i := range 100 {
		j := jars.Of(fmt.Sprint(i))
		j.Learn(answer(func(w http.ResponseWriter, _ *http.Request) {
			for k := range 60 {
				http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("c", k), Value: strings.Repeat("x", 10+5000*(k%2))})
			}
		}))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if j.Apply(r, nil); len(r.Header.Get("Cookie")) > 50*20 {
			t.Fatalf("session %d keeps %d bytes", i, len(r.Header.Get("Cookie")))
		}
	}
	if jars.Of("0") == first {
		t.Error("a session of long ago is still kept")
	}
}

func FuzzLearn(f *testing.F) {
	f.Add("text/html", `<meta name="csrf-token" content="x">`)
	f.Add("application/json", `{"a":[{"b":1}]}`)
	f.Fuzz(func(t *testing.T, kind, body string) {
		j := token.NewJars([]workload.TokenRule{{Name: "x", FromJSON: "a.0.b", FromHTML: "y", ToField: "z"}}, 1).Of("s")
		j.Learn(&http.Response{Header: http.Header{"Content-Type": {kind}}}, []byte(body))
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Content-Type", kind)
		j.Apply(r, []byte(body))
	})
}
