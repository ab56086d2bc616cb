package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	maxRecord = 1 << 14  // bytes in a plaintext TLS record
	maxHello  = 16 << 10 // bytes of a ClientHello; with post-quantum shares it is below 2 KiB
	// maxRecords bounds the records one ClientHello may be spread over: some
	// clients split it in the middle of the name, none into single bytes.
	maxRecords = 64
)

// accessDenied is the TLS alert that tells a client why its tunnel ends: record
// type alert, TLS 1.2, two bytes, fatal, access_denied.
var accessDenied = [...]byte{21, 3, 3, 0, 2, 2, 49}

// readHello reads one ClientHello from r, whole records only, and returns the
// bytes it took and the server name, "" where the ClientHello has none. It reads
// at most maxHello bytes of handshake. The bytes are returned with an error too.
//
// It is a parser for a filter: what servers might read in different ways (two
// names, data behind the message, other records in between) is an error.
func readHello(r io.Reader) (raw []byte, name string, err error) {
	var msg []byte
	for range maxRecords {
		var head [5]byte
		n, err := io.ReadFull(r, head[:])
		raw = append(raw, head[:n]...)
		if err != nil {
			return raw, "", fmt.Errorf("reading a TLS record: %w", err)
		}
		size := int(binary.BigEndian.Uint16(head[3:]))
		switch {
		case head[0] != 22 || head[1] != 3:
			return raw, "", errors.New("not a TLS handshake")
		case size == 0 || size > maxRecord:
			return raw, "", fmt.Errorf("TLS record of %d bytes", size)
		case len(msg)+size > maxHello:
			return raw, "", fmt.Errorf("ClientHello of more than %d bytes", maxHello)
		}
		body := make([]byte, size)
		n, err = io.ReadFull(r, body)
		raw = append(raw, body[:n]...)
		if err != nil {
			return raw, "", fmt.Errorf("reading a TLS record: %w", err)
		}
		msg = append(msg, body...)
		if msg[0] != 1 {
			return raw, "", errors.New("the TLS handshake does not begin with a ClientHello")
		}
		if len(msg) < 4 {
			continue
		}
		want := 4 + int(msg[1])<<16 + int(msg[2])<<8 + int(msg[3])
		switch {
		case want > maxHello:
			return raw, "", fmt.Errorf("ClientHello of more than %d bytes", maxHello)
		case len(msg) == want:
			name, err := serverName(msg[4:])
			return raw, name, err
		case len(msg) > want:
			return raw, "", errors.New("data behind the ClientHello")
		}
	}
	return raw, "", fmt.Errorf("ClientHello in more than %d records", maxRecords)
}

var errHello = errors.New("malformed ClientHello")

// serverName returns the host name in the body of a ClientHello, "" for none.
func serverName(body []byte) (string, error) {
	b := cursor(body)
	// Version and random, session id, cipher suites, compression methods.
	if !b.skip(2+32) || !b.skipVector(1) || !b.skipVector(2) || !b.skipVector(1) {
		return "", errHello
	}
	if len(b) == 0 {
		return "", nil // TLS 1.0 without extensions
	}
	exts, ok := b.vector(2)
	if !ok || len(b) != 0 {
		return "", errHello
	}
	name, found := "", false
	for len(exts) > 0 {
		kind, ok := exts.uint(2)
		data, ok2 := exts.vector(2)
		if !ok || !ok2 {
			return "", errHello
		}
		if kind != 0 {
			continue
		}
		if found {
			return "", errors.New("two server name extensions")
		}
		found = true
		var err error
		if name, err = hostName(data); err != nil {
			return "", err
		}
	}
	return name, nil
}

// hostName reads the one entry of a server name extension.
func hostName(data cursor) (string, error) {
	list, ok := data.vector(2)
	if !ok || len(data) != 0 {
		return "", errHello
	}
	kind, ok := list.uint(1)
	name, ok2 := list.vector(2)
	switch {
	case !ok || !ok2:
		return "", errHello
	case kind != 0 || len(list) != 0:
		return "", errors.New("a server name list that is not one host name")
	case len(name) == 0:
		return "", errors.New("an empty server name")
	}
	return string(name), nil
}

// cursor is what is left to parse.
type cursor []byte

func (c *cursor) skip(n int) bool {
	if len(*c) < n {
		return false
	}
	*c = (*c)[n:]
	return true
}

// uint reads a big-endian number of n bytes.
func (c *cursor) uint(n int) (v int, ok bool) {
	if len(*c) < n {
		return 0, false
	}
	for _, b := range (*c)[:n] {
		v = v<<8 | int(b)
	}
	return v, c.skip(n)
}

// vector reads bytes preceded by their number, which has n bytes.
func (c *cursor) vector(n int) (cursor, bool) {
	size, ok := c.uint(n)
	if !ok || len(*c) < size {
		return nil, false
	}
	v := (*c)[:size]
	return v, c.skip(size)
}

func (c *cursor) skipVector(n int) bool {
	_, ok := c.vector(n)
	return ok
}
