package workfs

import (
	"bytes"
	"encoding/binary"
	"io/fs"

	"golang.org/x/sys/unix"
)

// reader reads the names of a directory in batches.
type reader struct {
	fd  int
	buf []byte
}

// read opens the directory for its names.
func (d *dir) read() (*reader, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return &reader{fd: fd, buf: make([]byte, 32<<10)}, nil
}

func (r *reader) close() { _ = unix.Close(r.fd) }

// next appends a batch of entries to list, until there is no more. The standard
// library's reader would look up by path what the file system does not say, and
// would be led elsewhere.
func (r *reader) next(d *dir, list []entry) (_ []entry, more bool, err error) {
	n, err := unix.Getdents(r.fd, r.buf)
	for err == unix.EINTR {
		n, err = unix.Getdents(r.fd, r.buf)
	}
	if err == unix.ENOENT { // removed
		return list, false, nil
	}
	if err != nil {
		return list, false, err
	}
	// struct linux_dirent64: ino, off, reclen (16 bit, at 16), type (at 18), name.
	for b := r.buf[:n]; len(b) > 19; {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size < 20 || size > len(b) {
			break
		}
		name, kind := b[19:size], b[18]
		b = b[size:]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if len(name) == 0 || string(name) == "." || string(name) == ".." || bytes.IndexByte(name, '/') >= 0 {
			continue
		}
		list = append(list, entry{string(name), d.kind(string(name), kind)})
	}
	return list, n > 0, nil
}

func (d *dir) kind(name string, kind byte) fs.FileMode {
	switch kind {
	case unix.DT_REG:
		return 0
	case unix.DT_DIR:
		return fs.ModeDir
	case unix.DT_LNK:
		return fs.ModeSymlink
	case unix.DT_FIFO:
		return fs.ModeNamedPipe
	case unix.DT_SOCK:
		return fs.ModeSocket
	case unix.DT_UNKNOWN:
		if i, err := d.lstat(name); err == nil {
			return i.Mode.Type()
		}
	}
	return fs.ModeDevice
}
