package egress

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// A client that sends to a server that never reads fills the buffers on the way, and
// those of this program are in no limit of the client's.
func TestLittleIsHeldForAServerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // ends with ln
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
				return
			}
		}
	}()
	guard := &Guard{Policy: mustPolicy(t, ln.Addr().String()), Own: func() ([]net.Addr, error) { return nil, nil }}
	conn, err := net.Dial("tcp", startProxy(t, Config{Guard: guard}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetWriteBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("CONNECT " + ln.Addr().String() + " HTTP/1.1\r\nHost: " + ln.Addr().String() + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	// What is taken before a second passes in which nothing is.
	const most = 4 << 20
	sent, chunk := 0, make([]byte, 64<<10)
	for sent <= 2*most {
		if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Write(chunk)
		if errors.Is(err, os.ErrDeadlineExceeded) && n+sent == 0 {
			continue // this program was held up before it wrote anything
		}
		if sent += n; err != nil {
			break
		}
	}
	if sent > most || sent == 0 {
		t.Errorf("%d bytes were taken, want up to %d", sent, most)
	}
}
