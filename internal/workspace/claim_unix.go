//go:build unix

package workspace

import (
	"os"
	"syscall"
)

// posixModes says that permission bits mean something.
const posixModes = true

// ours reports whether the program's user owns a file.
func ours(fi os.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// trusted reports whether the program's user or root owns a file.
func trusted(fi os.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}
