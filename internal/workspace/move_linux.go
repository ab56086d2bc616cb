package workspace

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// shift moves the entries of a directory but one to another, by other names
// where theirs are taken.
func shift(from, to *os.File, but string) error {
	for moved := 0; moved < maxMoved; {
		names, _, err := entryNames(from, but)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			err := move(from, name, to, name)
			if err == unix.EEXIST {
				err = move(from, name, to, trashName())
			}
			if err != nil && err != unix.ENOENT {
				return err
			}
		}
		moved += len(names)
	}
	return errWriter
}

// entryNames lists the names in a directory but one, the first few thousand of
// them; more says that there are others.
func entryNames(dir *os.File, but string) (names []string, more bool, err error) {
	err = readEntries(int(dir.Fd()), new([]byte), func(name string, _ byte) error {
		switch {
		case name == but:
		case len(names) == 8*batch:
			return errEnough
		default:
			names = append(names, name)
		}
		return nil
	})
	if err == errEnough {
		return names, true, nil
	}
	return names, false, err
}

// move renames an entry, replacing nothing.
func move(from *os.File, name string, to *os.File, as string) error {
	rename := func() error {
		return unix.Renameat2(int(from.Fd()), name, int(to.Fd()), as, unix.RENAME_NOREPLACE)
	}
	err := unprotected(int(from.Fd()), name, rename)
	if err != unix.EACCES {
		return err
	}
	// A directory that its owner may not write to cannot get another parent.
	at, err := openEntry(int(from.Fd()), name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return unix.EACCES
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return err
	}
	if err := unix.Chmod(procPath(at), 0o700); err != nil {
		return err
	}
	return errors.Join(rename(), unix.Chmod(procPath(at), st.Mode&0o7777))
}

// sameMount reports whether entries can be renamed between two directories.
func sameMount(a, b *os.File) (bool, error) {
	var ids [2]unix.Statx_t
	for i, f := range []*os.File{a, b} {
		if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID|unix.STATX_BASIC_STATS, &ids[i]); err != nil {
			return false, err
		}
	}
	if ids[0].Mask&ids[1].Mask&unix.STATX_MNT_ID != 0 && ids[0].Mnt_id != ids[1].Mnt_id {
		return false, nil
	}
	return ids[0].Dev_major == ids[1].Dev_major && ids[0].Dev_minor == ids[1].Dev_minor, nil
}
