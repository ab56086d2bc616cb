package egress

import (
	"net/netip"
	"strconv"
)

// The rules that refuse, as [Denied.Rule] names them. An address that is not
// public is refused by the rule that its block is, such as
// "private (10.0.0.0/8, RFC 1918)".
const (
	RuleAllowList  = "allow list"            // host and port match no pattern
	RuleHostName   = "host name"             // not a host in any accepted notation
	RuleNetwork    = "TCP only"              // UDP, listening and Unix sockets are not carried
	RuleOwn        = "own address"           // an address of the machine that runs the proxy
	RuleCheck      = "check"                 // the embedder's Check said no
	RuleServerName = "TLS server name"       // a tunnel to port 443 without TLS, or to another name
	RuleHostHeader = "Host header"           // the Host field is not the host of the request
	RuleUpgrade    = "upgrade"               // h2c, WebSocket and others over absolute-form
	RuleSyntax     = "HTTP syntax"           // a request that two parsers could read differently
	RuleConns      = "number of connections" // Config.MaxConns
	RuleScheme     = "URL scheme"            // neither http nor https
	RuleRedirects  = "number of redirects"   // ClientOptions.MaxRedirects
)

// Denied is a connection or request that was refused by policy, as opposed to
// one that failed.
type Denied struct {
	Host   string     // as asked for, in normal form where it has one
	Port   uint16     // 0 where none was understood
	Addr   netip.Addr // the address that was refused; invalid where it did not come so far
	Rule   string     // which rule refused
	Reason string     // completes "network denied: example.com:443 "
	Err    error      // what Check answered; else nil
}

// Error returns text such as "network denied: example.com:443 is not in the
// allow list". What a process sent appears in it quoted.
func (d *Denied) Error() string {
	s := "network denied: "
	if t := d.target(); t != "" {
		s += t + " "
	}
	return s + d.Reason
}

func (d *Denied) target() string {
	h, err := ParseHost(d.Host)
	switch {
	case d.Host == "":
		return ""
	case err != nil && d.Port != 0:
		return strconv.QuoteToASCII(clip(d.Host)) + ":" + strconv.Itoa(int(d.Port))
	case err != nil:
		return strconv.QuoteToASCII(clip(d.Host))
	case d.Port != 0:
		return h.join(d.Port)
	}
	return h.String()
}

func (d *Denied) Unwrap() error { return d.Err }

// Dial is a connection about to be made, or made.
type Dial struct {
	Worker string // Guard.Worker
	Host   string // the name or literal address asked for, in normal form
	Addr   netip.AddrPort
}
