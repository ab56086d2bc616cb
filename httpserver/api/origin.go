package api

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// origins decides which web pages may call, and under which names the server
// may be addressed.
type origins struct {
	protection *http.CrossOriginProtection
	allowed    map[string]bool
	any        bool // AllowedOrigins has "*"

	hosts   []string // further allowed names, lower case
	anyHost bool
}

func newOrigins(o Options) (*origins, error) {
	p := &origins{protection: http.NewCrossOriginProtection(), allowed: map[string]bool{}}
	for _, origin := range o.AllowedOrigins {
		if origin == "*" {
			p.any = true
			continue
		}
		if err := p.protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("api: AllowedOrigins: %q: want scheme://host[:port]: %w", origin, err)
		}
		p.allowed[origin] = true
	}
	if p.any && len(o.Tokens) == 0 {
		return nil, errors.New(`api: AllowedOrigins: "*" lets every web page run tools; name the origins, or set Tokens`)
	}
	p.anyHost = slices.Contains(o.AllowedHosts, "*") || len(o.AllowedHosts) == 0 && len(o.Tokens) > 0
	for _, h := range o.AllowedHosts {
		p.hosts = append(p.hosts, strings.ToLower(h))
	}
	return p, nil
}

// check returns the refusal for a request that a web page made which may not,
// or that is addressed to a name which is not ours.
func (p *origins) check(r *http.Request) *reply {
	if !p.hostAllowed(r.Host) {
		return refusal(sandbox.ErrForbidden, fmt.Sprintf(
			"host %q is refused: address the server as localhost or by its loopback address, or configure the name as an allowed host", r.Host))
	}
	if p.any {
		return nil
	}
	if err := p.protection.Check(r); err != nil {
		return refusal(sandbox.ErrForbidden, "requests from web pages of other origins are refused: "+err.Error())
	}
	return nil
}

// hostAllowed guards against DNS rebinding: a page of the attacker's whose name
// has come to mean 127.0.0.1 still sends its own name as Host.
func (p *origins) hostAllowed(hostport string) bool {
	if p.anyHost {
		return true
	}
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || slices.Contains(p.hosts, host) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// allow sets the CORS headers for a page that may read the answer. Credentials
// (cookies) are never part of it: callers prove themselves by tokens.
func (p *origins) allow(h http.Header, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if len(p.allowed) == 0 && !p.any {
		return false
	}
	h.Add("Vary", "Origin")
	switch {
	case origin == "":
		return false
	case p.allowed[origin]:
		h.Set("Access-Control-Allow-Origin", origin)
	case p.any:
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return false
	}
	return true
}

// isPreflight reports whether r asks what a page may send.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" &&
		r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers such a request; allow has set the origin.
func preflight(h http.Header, r *http.Request) {
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT")
	h.Set("Access-Control-Max-Age", "600")
	if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
		h.Set("Access-Control-Allow-Headers", headers)
	}
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
}

// isJSON reports whether a body is declared as JSON. No header at all is not
// enough: a page may send a typeless Blob, and then its browser names no type.
func isJSON(r *http.Request) bool {
	ct := r.Header.Get("Content-Type")
	if ct == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(ct)
	return err == nil && media == "application/json"
}
