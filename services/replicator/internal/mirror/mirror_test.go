package mirror

import (
	"net/http"
	"testing"
)

func TestOriginalHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"shop.example-shadow": "shop.example", "shop.example-shadow:8080": "shop.example:8080", "shop.example": "shop.example",
		"shop-shadow.example": "shop-shadow.example", "[::1]": "[::1]", "[::1]:80": "[::1]:80", "[::1]-shadow": "[::1]",
		"-shadow": "-shadow", "": "", "shop-shadow-shadow": "shop-shadow",
	} {
		if got := originalHost(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestIsUpgrade(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"Upgrade": true, "keep-alive, upgrade": true, "keep-alive": false, "": false} {
		if got := isUpgrade(http.Header{"Connection": {value}, "Upgrade": {"websocket"}}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}
