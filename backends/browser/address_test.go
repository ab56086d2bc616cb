package browser

import "testing"

func TestAddressesWithoutAScheme(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"example.com":             "https://example.com",
		"example.com:8443/x":      "https://example.com:8443/x",
		"localhost:8000":          "http://localhost:8000",
		"localhost":               "http://localhost",
		"app.localhost:3000/a?b":  "http://app.localhost:3000/a?b",
		"127.0.0.1:8000/#x":       "http://127.0.0.1:8000/#x",
		"0.0.0.0:8000":            "http://0.0.0.0:8000",
		"[::1]:8000":              "http://[::1]:8000",
		"localhost.evil.test":     "https://localhost.evil.test",
		"localhost@evil.test":     "https://localhost@evil.test",
		"https://localhost:8000":  "https://localhost:8000",
		"http://example.com/":     "http://example.com/",
		"about:blank":             "about:blank",
		"data:text/html,<p>hello": "data:text/html,<p>hello",
	} {
		if got, err := checkAddress(raw); got != want || err != nil {
			t.Errorf("checkAddress(%q) = %q, %v, want %q", raw, got, err, want)
		}
	}
}
