package egress

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// clientHello returns the first record that crypto/tls sends for cfg.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		tls.Client(a, cfg).Handshake()
		a.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(b, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// split spreads the handshake message of record over records of at most n bytes.
func split(record []byte, n int) []byte {
	var out []byte
	for msg := record[5:]; len(msg) > 0; {
		k := min(n, len(msg))
		out = append(out, 22, 3, 1, byte(k>>8), byte(k))
		out, msg = append(out, msg[:k]...), msg[k:]
	}
	return out
}

// hello builds a ClientHello record with the given extensions.
func hello(exts ...[]byte) []byte {
	body := append(make([]byte, 34), 0, 0, 2, 0x13, 0x01, 1, 0)
	if exts != nil {
		all := bytes.Join(exts, nil)
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(all))), all...)
	}
	msg := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{22, 3, 1, byte(len(msg) >> 8), byte(len(msg))}, msg...)
}

func ext(kind byte, data ...byte) []byte {
	return append([]byte{0, kind, byte(len(data) >> 8), byte(len(data))}, data...)
}

// sni is the extension with one entry for each name.
func sni(names ...string) []byte {
	var list []byte
	for _, n := range names {
		list = append(append(list, 0, byte(len(n)>>8), byte(len(n))), n...)
	}
	return ext(0, append([]byte{byte(len(list) >> 8), byte(len(list))}, list...)...)
}

func TestReadHello(t *testing.T) {
	t.Parallel()
	real := clientHello(t, &tls.Config{ServerName: "www.example.com"})
	nameless := clientHello(t, &tls.Config{InsecureSkipVerify: true})
	ech := hello(ext(0xfd, 1, 2, 3), sni("outer.test"))
	trailing := append(bytes.Clone(real), 0)
	binary.BigEndian.PutUint16(trailing[3:], uint16(len(trailing)-5))
	interleaved := split(real, 40)
	interleaved = append(interleaved[:45:45], append([]byte{21, 3, 1, 0, 2, 1, 0}, interleaved[45:]...)...)
	tests := []struct {
		name  string
		input []byte
		want  string
		err   string
	}{
		{"crypto/tls", real, "www.example.com", ""},
		{"split in the middle of the name", split(real, bytes.Index(real, []byte("example"))-5), "www.example.com", ""},
		{"split into many records", split(real, 40), "www.example.com", ""},
		{"split into too many", split(real, 3), "", "more than 64 records"},
		{"no server name", nameless, "", ""},
		{"no extensions", hello(), "", ""},
		{"other extensions first", hello(ext(10, 1, 2), sni("a.test"), ext(11)), "a.test", ""},
		{"the outer name of an encrypted ClientHello", ech, "outer.test", ""},
		{"two extensions", hello(sni("a.test"), sni("b.test")), "", "two server name extensions"},
		{"two names", hello(sni("a.test", "b.test")), "", "not one host name"},
		{"empty name", hello(sni("")), "", "empty server name"},
		{"empty list", hello(ext(0, 0, 0)), "", "malformed"},
		{"list shorter than the extension", hello(ext(0, 0, 0, 0)), "", "malformed"},
		{"name longer than the list", hello(ext(0, 0, 4, 0, 0, 9, 'a')), "", "malformed"},
		{"another type of name", hello(ext(0, 0, 4, 1, 0, 1, 'a')), "", "not one host name"},
		{"extension longer than the message", hello([]byte{0, 0, 9, 9}), "", "malformed"},
		{"data behind the message", trailing, "", "data behind"},
		{"an alert in between", interleaved, "", "not a TLS handshake"},
		{"plain HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), "", "not a TLS handshake"},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.2\r\n"), "", "not a TLS handshake"},
		{"SSL 2", []byte{0x80, 0x2e, 1, 0, 2, 0, 0}, "", "not a TLS handshake"},
		{"another handshake message", []byte{22, 3, 1, 0, 4, 2, 0, 0, 0}, "", "does not begin with a ClientHello"},
		{"an empty record", []byte{22, 3, 1, 0, 0}, "", "0 bytes"},
		{"a huge message", []byte{22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff}, "", "more than 16384"},
		{"a huge record", []byte{22, 3, 1, 0xff, 0xff}, "", "65535 bytes"},
		{"cut off", real[:len(real)-1], "", "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := bytes.NewReader(append(bytes.Clone(tt.input), "later"...))
			if tt.name == "cut off" {
				r = bytes.NewReader(tt.input)
			}
			raw, name, err := readHello(r)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("readHello = %q, %v, want %q", name, err, tt.err)
				}
				return
			}
			if err != nil || name != tt.want || !bytes.Equal(raw, tt.input) || r.Len() != len("later") {
				t.Errorf("readHello = %q, %v, took %d bytes, want %q and %d bytes", name, err, len(raw), tt.want, len(tt.input))
			}
		})
	}
}

func TestCheckServerName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		host, sni string
		err       error
		ok        bool
	}{
		{"a.test", "a.test", nil, true},
		{"a.test", "A.Test", nil, true},
		{"a.test", "b.test", nil, false},
		{"a.test", "a.test.evil.org", nil, false},
		{"a.test", "evil-a.test", nil, false},
		{"a.test", "a.test\x00", nil, false},
		{"a.test", "", nil, false},
		{"a.test", "a.test", io.ErrUnexpectedEOF, false},
		{"192.0.2.7", "", nil, true},
		{"192.0.2.7", "192.0.2.7", nil, true},
		{"192.0.2.7", "a.test", nil, false},
	}
	for _, tt := range tests {
		h, err := ParseHost(tt.host)
		if err != nil {
			t.Fatal(err)
		}
		err = checkServerName(h, 443, tt.sni, tt.err)
		if _, denied := errors.AsType[*Denied](err); denied == tt.ok || err == nil != tt.ok {
			t.Errorf("checkServerName(%q, %q) = %v, want ok %v", tt.host, tt.sni, err, tt.ok)
		}
	}
}

func FuzzReadHello(f *testing.F) {
	real := clientHello(f, &tls.Config{ServerName: "www.example.com"})
	f.Add(real)
	f.Add(split(real, 40))
	f.Add(hello(sni("a.test")))
	f.Add(hello(ext(10, 1), sni("a.test", "b.test")))
	f.Fuzz(func(t *testing.T, in []byte) {
		raw, name, err := readHello(bytes.NewReader(in))
		if !bytes.HasPrefix(in, raw) {
			t.Errorf("the bytes taken are not those that came")
		}
		if err != nil {
			return
		}
		if name != "" && !bytes.Contains(join(raw), []byte(name)) {
			t.Errorf("readHello made up the name %q", name)
		}
		// crypto/tls must not read another name.
		if got, ok := stdName(raw); ok && got != name {
			t.Errorf("readHello = %q, crypto/tls reads %q", name, got)
		}
	})
}

// join undoes split.
func join(records []byte) []byte {
	var msg []byte
	for len(records) > 0 {
		n := 5 + int(binary.BigEndian.Uint16(records[3:]))
		msg, records = append(msg, records[5:n]...), records[n:]
	}
	return msg
}

// stdName returns the server name that crypto/tls reads in a ClientHello.
func stdName(raw []byte) (name string, ok bool) {
	a, b := net.Pipe()
	go func() {
		a.Write(raw)
		a.Close() // a server that waits for more has read no name
	}()
	go io.Copy(io.Discard, a)
	stop := errors.New("enough")
	tls.Server(b, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name, ok = h.ServerName, true
		return nil, stop
	}}).Handshake()
	a.Close()
	b.Close()
	return name, ok
}
