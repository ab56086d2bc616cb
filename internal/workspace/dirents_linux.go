package workspace

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

// direntBuffer holds a few hundred entries of a directory.
const direntBuffer = 32 << 10

// readEntries calls each for every entry of a directory, with its kind (a
// DT_ number, never DT_UNKNOWN), until it returns an error. A writer can keep it
// busy for ever: each must know when it is enough. *buffer is made if need be, for
// further directories.
func readEntries(fd int, buffer *[]byte, each func(name string, kind byte) error) error {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return err
	}
	if *buffer == nil {
		*buffer = make([]byte, direntBuffer)
	}
	buf := *buffer
	for {
		n, err := unix.ReadDirent(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOENT: // the directory is gone
			return nil
		case err != nil || n == 0:
			return err
		}
		// struct linux_dirent64: inode and offset, 8 bytes each, the length of
		// the record, its kind, and the name up to a NUL.
		for rest := buf[:n]; len(rest) >= 19; {
			size := int(binary.NativeEndian.Uint16(rest[16:]))
			kind, raw := rest[18], rest[19:size]
			rest = rest[size:]
			if end := bytes.IndexByte(raw, 0); end >= 0 {
				raw = raw[:end]
			}
			name := string(raw)
			if name == "." || name == ".." {
				continue
			}
			if kind == unix.DT_UNKNOWN {
				var st unix.Stat_t
				if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
					continue // gone
				}
				kind = byte(st.Mode & unix.S_IFMT >> 12)
			}
			if err := each(name, kind); err != nil {
				return err
			}
		}
	}
}

// procPath is a path of what an open descriptor is, whatever that is.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
