package code

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxFrame bounds what an interpreter may answer: the rich outputs of a cell
// and its texts, as the drivers limit them.
const maxFrame = 40 << 20

// errFrame means that something else than the driver wrote to its descriptor.
var errFrame = errors.New("its answer makes no sense")

// maxItems bounds the lists of an answer.
const maxItems = 1 + max(maxOutputs, maxVariables)

// items are the first maxItems of a list. The rest is skipped without being
// decoded: an item takes two bytes in a frame and many times that in memory.
type items[T any] []T

// UnmarshalJSON decodes a list, or null.
func (l *items[T]) UnmarshalJSON(data []byte) error {
	*l = nil
	d := json.NewDecoder(bytes.NewReader(data))
	switch first, err := d.Token(); {
	case err != nil:
		return err
	case first == nil:
		return nil
	case first != json.Delim('['):
		return fmt.Errorf("%w: no list where one belongs", errFrame)
	}
	for d.More() && len(*l) < maxItems {
		var item T
		if err := d.Decode(&item); err != nil {
			return err
		}
		*l = append(*l, item)
	}
	return nil
}

// encodeFrame makes the frame of a request: JSON after its length in four bytes.
func encodeFrame(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...), nil
}

// frameReader puts frames together, over reads that a deadline may cut short.
type frameReader struct {
	r    io.Reader
	buf  []byte // of the frame so far
	size int    // of the whole frame; 0: not known yet
}

// next returns the next frame's content. After an error of the reader it may be
// called again. Memory grows with what has come, whatever length was promised.
func (f *frameReader) next() ([]byte, error) {
	for {
		if f.size == 0 && len(f.buf) >= 4 {
			n := binary.BigEndian.Uint32(f.buf)
			if n == 0 || n > maxFrame {
				return nil, fmt.Errorf("%w: a frame of %d bytes", errFrame, n)
			}
			f.size = 4 + int(n)
		}
		if f.size > 0 && len(f.buf) >= f.size {
			if len(f.buf) > f.size { // drivers answer one request at a time
				return nil, fmt.Errorf("%w: bytes after a frame", errFrame)
			}
			frame := f.buf[4:]
			f.buf, f.size = nil, 0
			return frame, nil
		}
		room := 4 << 10
		if f.size > 0 {
			room = min(f.size-len(f.buf)+1, 256<<10)
		}
		at := len(f.buf)
		f.buf = append(f.buf, make([]byte, room)...)
		n, err := f.r.Read(f.buf[at:])
		f.buf = f.buf[:at+n]
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// ready reads from a file what is there already, whatever its deadline.
type ready struct{ f *os.File }

func (r ready) Read(b []byte) (n int, err error) {
	rc, err := r.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := rc.Control(func(fd uintptr) { n, err = unix.Read(int(fd), b) })
	if n <= 0 {
		return 0, cmp.Or(cerr, err, io.EOF)
	}
	return n, nil
}
