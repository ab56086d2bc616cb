// Package egress decides which network addresses confined processes, and tools
// that fetch URLs for them, may reach, and carries the permitted traffic.
//
// # Parts
//
//   - [Policy] is a compiled allow list. It matches what was asked for, a name
//     or a literal address with a port, before anything is resolved.
//   - [Guard] is a policy with a resolver: it resolves a listed name once,
//     refuses addresses that are not public (see special.go), asks its Check,
//     and dials the very address it checked. Hosts of loopback it can find on the
//     worker's own ([Guard.Loopback]). [Guard.Client] makes an HTTP client of it
//     for tools written in Go.
//   - [Serve] is the proxy that stands between a confined process and a Guard:
//     HTTP/1.1 in absolute form, HTTP CONNECT and SOCKS5 CONNECT on one port,
//     told apart by the first byte.
//
// Everything fails closed: an empty list permits nothing, what cannot be parsed
// is refused, and a refusal is a [*Denied] that names the rule. What is permitted
// and comes to nothing is a [*Failed] that says why.
//
// # What the proxy promises
//
// A process that can reach nothing but the proxy connects only to hosts of the
// allow list, at addresses that the Guard checked. Plain HTTP requests are taken
// apart and written anew, so that the upstream server sees one request where
// the proxy saw one, with the Host that was checked; the check is repeated for
// each request of a connection. A tunnel (CONNECT or SOCKS5) to port 443 must
// begin with a TLS ClientHello whose server name is the host of the tunnel.
//
// # What it does not promise
//
// A tunnel to any other port is opaque once host and address are checked. Nor
// does the proxy look inside TLS: where many sites share an address, a client
// may name a listed site in the handshake and another one in the encrypted
// request, in an encrypted ClientHello (its outer name is what the rule sees),
// or in the ClientHello that follows a HelloRetryRequest. List such a front
// only for agents that may see all that is behind it.
//
// # Why the proxy parses requests itself
//
// net/http's server reads what a filter must refuse as something harmless: it
// drops Content-Length beside chunked, merges repeated lengths, joins folded
// lines, accepts bare line feeds, and replaces Host by the authority without a
// word. The request head is therefore read by a strict parser of about 150
// lines. What follows is net/http's and httputil's: chunked bodies are decoded by
// httputil and every request is written by an http.Transport, so no byte of a
// request's framing reaches the upstream server.
package egress
