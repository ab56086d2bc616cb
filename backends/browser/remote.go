package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// browserURL finds the address to speak the protocol at: that of the browser
// itself, or what its web server tells.
func browserURL(ctx context.Context, raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	switch u.Scheme {
	case "ws", "wss":
		if strings.Contains(u.Path, "/devtools/browser/") {
			return raw, nil
		}
		u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	case "http", "https":
	default:
		return "", fmt.Errorf("%q: give an address such as http://127.0.0.1:9222 or ws://127.0.0.1:9222/devtools/browser/…", raw)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// A browser answers only to an address or localhost as host.
	if host := u.Hostname(); host != "localhost" && net.ParseIP(host) == nil {
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			return "", err
		}
		u.Host = net.JoinHostPort(found[0], u.Port())
		if u.Port() == "" {
			u.Host = found[0]
		}
	}
	u.Path, u.RawQuery = "/json/version", ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s; give the address of a Chromium that was started with --remote-debugging-port", u, resp.Status)
	}
	var version struct {
		URL string `json:"webSocketDebuggerUrl"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&version); err != nil {
		return "", fmt.Errorf("%s: %w", u, err)
	}
	if version.URL == "" {
		return "", fmt.Errorf("%s names no webSocketDebuggerUrl; give the address of a Chromium that was started with --remote-debugging-port", u)
	}
	return version.URL, nil
}
