package workfs

import (
	"io/fs"
	"time"
)

// Info describes a file, directory, link or whatever else an entry is.
type Info struct {
	Path     string      // from the tree's top
	Size     int64       // bytes
	Mode     fs.FileMode // type and permissions
	Modified time.Time
	Target   string // of a symbolic link, as it is written
}

// Kind names a type of file in one word.
func Kind(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "symlink"
	case fs.ModeNamedPipe:
		return "fifo"
	case fs.ModeSocket:
		return "socket"
	}
	return "device"
}

// regular says, if it is so, that something is no regular file, and what it is.
func regular(m fs.FileMode) error {
	switch kind := Kind(m); kind {
	case "file":
		return nil
	case "directory":
		return with(ErrIsDir, "it is a directory, not a file")
	default:
		return with(ErrNotRegular, "it is a %s; only regular files are read and written", kind)
	}
}

// entry is a name in a directory.
type entry struct {
	name string
	kind fs.FileMode // the type bits
}
