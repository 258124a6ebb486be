package gateway

import (
	"io"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// policy lets the page load nothing that is not ours and run no inline script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const notBuilt = `<!doctype html>
<html lang="en">
<title>Foreshadow console: page not built</title>
<h1>The page is not built</h1>
<p>This binary was built without the web page. Run <code>make console</code> and build the binary again.</p>
<p>The JSON API works: <a href="/api/v1/workloads">/api/v1/workloads</a></p>
</html>
`

// guard sets the security headers and refuses names that are not ours.
func (g *gateway) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !g.knownHost(r.Host) {
			writeStatus(w, http.StatusMisdirectedRequest, status.New(codes.PermissionDenied,
				"the page does not answer to the name "+r.Host+"; add it to console.hosts"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knownHost accepts what cannot be a rebound name: addresses, localhost and the names configured.
func (g *gateway) knownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(g.Hosts, host)
}

// page serves the built files. Names under assets/ carry a hash of their content and never change.
func page(files fs.FS) http.Handler {
	if _, err := fs.Stat(files, "index.html"); err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			_, _ = io.WriteString(w, notBuilt)
		})
	}
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if folder := strings.HasSuffix(r.URL.Path, "/") && r.URL.Path != "/"; folder || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.NotFound(w, r)
			return
		}
		cache := "no-cache"
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			cache = "public, max-age=31536000, immutable"
		}
		w.Header().Set("Cache-Control", cache)
		server.ServeHTTP(w, r)
	})
}
