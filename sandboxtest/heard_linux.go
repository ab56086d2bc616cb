package sandboxtest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"
)

// serveHeard answers HTTP on ln, until it is closed, with all that was said to it:
// what a server might take for a request, its host or an upgrade, whether this is
// valid or not. It keeps no secret.
func serveHeard(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() { // ends with its connection
			defer c.Close()
			var all []byte
			for b := make([]byte, 4096); len(all) < 1<<16; {
				wait := 10 * time.Second // for a request, which may come in pieces
				if bytes.Contains(all, []byte("\r\n\r\n")) {
					wait = 100 * time.Millisecond // for more
				}
				_ = c.SetReadDeadline(time.Now().Add(wait)) // of a live connection
				n, err := c.Read(b)
				all = append(all, b[:n]...)
				if err != nil {
					break
				}
			}
			body := heard(all)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
		}()
	}
}

func heard(all []byte) string {
	var said []string
	lines := bufio.NewScanner(bytes.NewReader(all))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.ToLower(name) {
		case "host", "upgrade":
			said = append(said, strings.ToLower(name)+"="+strings.TrimSpace(value))
		default:
			if f := strings.Fields(lines.Text()); len(f) == 3 && strings.HasPrefix(f[2], "HTTP/") {
				said = append(said, "path="+f[1])
			}
		}
	}
	return strings.Join(said, " ")
}
