package sandboxtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Behind a proxy that lets everything through the cases of egress must see it, or
// they prove nothing behind one that does not.
func TestEgressCasesSeeACarelessProxy(t *testing.T) {
	t.Parallel()
	w, err := newWorld()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // until ln is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go careless(c) // until one side has closed
		}
	}()
	results, _, err := tryIn(t.Context(), w, sandbox.Options{Confine: sandbox.Confinement{Level: "none"}}, egressEscapes(),
		[]string{"http_proxy=http://" + ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	// The proxy below connects to loopback only, and there is no more to see of
	// these: it speaks no such protocol, or holds its socket outside.
	unseen := map[string]bool{
		"egress/http2": true, "egress/socks-bind": true, "egress/socks-udp": true, "egress/socks4": true,
		"egress/take-the-port": true, "egress/take-the-listener": true, "egress/name-dots": true, "egress/name-wildcard": true,
		"egress/name-empty": true, "egress/name-long": true, "egress/name-soft-hyphen": true, "egress/origin-form": true,
		"egress/second-request": true, "egress/zone": true, "egress/host-addresses": true,
	}
	for _, r := range results {
		if r.Outcome != Escaped && !unseen[r.Escape.Name] {
			t.Errorf("%s: %s (%s), want it to be seen escaping", r.Escape.Name, r.Outcome, r.Detail)
		}
	}
}

var anyHost = regexp.MustCompile(`^(?:GET|POST) http://([^\r]*):(\d+)/[^:]* HTTP|^CONNECT ([^\r]*):(\d+) `)

// careless is a proxy that connects whomever to whatever, which here is always a
// port of loopback, and passes on what it gets byte for byte.
func careless(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(tryTime)) // of a live connection
	r := bufio.NewReader(c)
	first, err := r.Peek(1)
	if err != nil {
		return
	}
	var port int
	var begin string
	if first[0] == 5 {
		port = carelessSocks(r, c)
	} else {
		line, err := r.ReadString('\n')
		for err == nil && !strings.Contains(line, " HTTP/") { // a name with a line's end in it
			var more string
			more, err = r.ReadString('\n')
			line += more
		}
		m := anyHost.FindStringSubmatch(line)
		if m == nil {
			return
		}
		port, _ = strconv.Atoi(m[2] + m[4])
		if strings.HasPrefix(line, "CONNECT") {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		} else {
			begin = regexp.MustCompile(` http://.*:\d+/`).ReplaceAllString(line, " /")
		}
	}
	to, err := (&net.Dialer{Timeout: tryTime}).DialContext(context.Background(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return
	}
	defer to.Close()
	if begin != "" {
		// Two servers make one of two hosts: what the second is told is the client's.
		fmt.Fprint(to, begin)
	}
	go func() { _, _ = io.Copy(to, r) }() // until either is closed
	_, _ = io.Copy(c, to)
}

func carelessSocks(r *bufio.Reader, c net.Conn) int {
	hello := make([]byte, 3)
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, hello); err != nil {
		return 0
	}
	_, _ = c.Write([]byte{5, 0}) // the reads tell
	if _, err := io.ReadFull(r, head); err != nil {
		return 0
	}
	n := map[byte]int{1: 4, 4: 16}[head[3]]
	if head[3] == 3 {
		b, _ := r.ReadByte() // the next read tells
		n = int(b)
	}
	rest := make([]byte, n+2)
	if _, err := io.ReadFull(r, rest); err != nil {
		return 0
	}
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}) // as above
	return int(binary.BigEndian.Uint16(rest[n:]))
}
