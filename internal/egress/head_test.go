package egress

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

func FuzzReadHead(f *testing.F) {
	f.Add("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n\r\n")
	f.Add("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc")
	f.Add("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	f.Add("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")
	f.Add("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		h, err := readHead(bufio.NewReaderSize(strings.NewReader(in), 16), 1<<12)
		if err != nil {
			return
		}
		size, err := h.length()
		if err != nil {
			return
		}
		// What passes here is a request to everybody, and the same one.
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			return // net/http also looks at the URL
		}
		if req.Method != h.method || req.ContentLength != size {
			t.Errorf("%q is %s with %d bytes here, %s with %d bytes to net/http", in, h.method, size, req.Method, req.ContentLength)
		}
		for key, values := range req.Header {
			if strings.Join(values, "\n") != strings.Join(h.header[key], "\n") {
				t.Errorf("%q: %s is %q here, %q to net/http", in, key, h.header[key], values)
			}
		}
	})
}
