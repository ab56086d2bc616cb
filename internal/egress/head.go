package egress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// head is a request head: a request without its body.
type head struct {
	method string
	target string
	http11 bool        // HTTP/1.1, else HTTP/1.0
	close  bool        // the client ends the connection after this request
	header http.Header // canonical keys
}

var errHeadSize = errors.New("request head is too large")

// readHead reads a request head of at most limit bytes. It accepts what RFC 9112
// asks senders to send and nothing that it lets recipients tolerate: lines end
// with CR LF, a single space separates the parts of the request line, no line is
// folded, no name is followed by a space. Errors of the connection are returned
// as they are, all others are a [*Denied] by [RuleSyntax] or errHeadSize.
func readHead(r *bufio.Reader, limit int) (*head, error) {
	line, err := readLine(r, &limit)
	if err != nil {
		return nil, err
	}
	h := &head{header: make(http.Header, 8)}
	if err := h.parseRequestLine(string(line)); err != nil {
		return nil, err
	}
	for {
		line, err := readLine(r, &limit)
		switch {
		case err != nil:
			return nil, err
		case len(line) == 0:
			h.close = !h.http11 || h.lists("Connection", "close") || h.lists("Proxy-Connection", "close")
			return h, nil
		}
		if err := h.parseField(string(line)); err != nil {
			return nil, err
		}
	}
}

func syntaxError(format string, args ...any) *Denied {
	return &Denied{Rule: RuleSyntax, Reason: "malformed request: " + fmt.Sprintf(format, args...)}
}

// readLine returns the next line without its CR LF, valid until the next read,
// and takes its size off limit.
func readLine(r *bufio.Reader, limit *int) ([]byte, error) {
	var long []byte // of a line that does not fit r's buffer
	for {
		part, err := r.ReadSlice('\n')
		if *limit -= len(part); *limit < 0 {
			return nil, errHeadSize
		}
		if err == bufio.ErrBufferFull {
			long = append(long, part...)
			continue
		}
		if err != nil {
			return nil, err
		}
		if long != nil {
			part = append(long, part...)
		}
		line, ok := bytes.CutSuffix(part, []byte("\r\n"))
		if !ok {
			return nil, syntaxError("a line does not end with CR LF")
		}
		for _, b := range line {
			if b < ' ' && b != '\t' || b == 0x7f {
				return nil, syntaxError("a line holds the control byte 0x%02x", b)
			}
		}
		return line, nil
	}
}

func (h *head) parseRequestLine(line string) error {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !token(method) || target == "" {
		return syntaxError("the request line is not METHOD TARGET VERSION")
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] >= 0x80 {
			return syntaxError("the request target holds the byte 0x%02x", target[i])
		}
	}
	switch version {
	case "HTTP/1.1":
		h.http11 = true
	case "HTTP/1.0":
	default:
		return syntaxError("version %q, expected HTTP/1.1 or HTTP/1.0", clip(version))
	}
	h.method, h.target = method, target
	return nil
}

func (h *head) parseField(line string) error {
	if line[0] == ' ' || line[0] == '\t' {
		return syntaxError("a folded header line")
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || !token(name) {
		return syntaxError("a header line that is not NAME: VALUE")
	}
	key := textproto.CanonicalMIMEHeaderKey(name)
	h.header[key] = append(h.header[key], strings.Trim(value, " \t"))
	return nil
}

// token reports whether s is a token of RFC 9110.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// length returns how many bytes of body follow: -1 for a chunked body. Only one
// plain Content-Length or one plain "chunked" has one meaning to everybody.
func (h *head) length() (int64, error) {
	sizes, codings := h.header["Content-Length"], h.header["Transfer-Encoding"]
	switch {
	case len(sizes) > 0 && len(codings) > 0:
		return 0, syntaxError("both Content-Length and Transfer-Encoding")
	case len(sizes) > 1:
		return 0, syntaxError("more than one Content-Length")
	case len(codings) > 1 || len(codings) == 1 && !strings.EqualFold(codings[0], "chunked"):
		return 0, syntaxError("Transfer-Encoding is not just chunked")
	case len(codings) == 1 && !h.http11:
		return 0, syntaxError("Transfer-Encoding in HTTP/1.0")
	case len(codings) == 1:
		return -1, nil
	case len(sizes) == 0:
		return 0, nil
	}
	n, err := strconv.ParseUint(sizes[0], 10, 63)
	if err != nil {
		return 0, syntaxError("Content-Length %q", clip(sizes[0]))
	}
	return int64(n), nil
}

// checkHost refuses a Host field that is absent, repeated or not h and port. An
// absent port in it means fallback, or any where fallback is 0.
func (h *head) checkHost(want Host, port, fallback uint16) error {
	values := h.header["Host"]
	switch {
	case len(values) > 1:
		return syntaxError("more than one Host")
	case len(values) == 0 && h.http11:
		return syntaxError("no Host")
	case len(values) == 0:
		return nil
	}
	if fallback == 0 {
		fallback = port
	}
	got, gotPort, err := ParseAuthority(values[0], fallback)
	if err != nil || got != want || gotPort != port {
		return &Denied{Host: want.String(), Port: port, Rule: RuleHostHeader,
			Reason: fmt.Sprintf("is asked for with the Host field %q, expected the same host", clip(values[0]))}
	}
	return nil
}

// lists reports whether the field of comma-separated words holds word.
func (h *head) lists(key, word string) bool {
	for _, v := range h.header[key] {
		for w := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(w, " \t"), word) {
				return true
			}
		}
	}
	return false
}

// hopByHop are the fields that speak of a connection, not of a request.
var hopByHop = [...]string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Authentication-Info", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// removeHopByHop takes those fields out, and the ones that Connection lists.
func removeHopByHop(header http.Header) {
	for _, v := range header["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			header.Del(strings.Trim(name, " \t"))
		}
	}
	for _, key := range hopByHop {
		delete(header, key)
	}
}
