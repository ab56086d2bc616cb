package workspace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// machineFile says which machine a data directory was last used on.
//
// Locks tell whether a program is alive, on one machine. On a file system that
// several machines share they may not, as many servers and mount options drop
// them; there a directory that bears another machine's mark is refused. On a
// file system that only one machine can have mounted the mark is that machine's
// to replace: the disk was moved.
const machineFile = "machine"

// machine is what tells machines apart.
type machine struct {
	id   string // of the installation; "" in many containers
	boot string // of the running kernel, which all its containers share
}

// same reports whether a directory with mark m may hold nothing that lives
// elsewhere: it is of this kernel, or of this installation before it was booted.
func (here machine) same(m machine) bool {
	return m.boot == here.boot || here.id != "" && m.id == here.id
}

func (m machine) text() string { return "machine " + m.id + "\nboot " + m.boot + "\n" }

// parseMachine reads what text made.
func parseMachine(text string) (m machine, ok bool) {
	rest, ok1 := strings.CutPrefix(text, "machine ")
	id, rest, ok2 := strings.Cut(rest, "\nboot ")
	boot, ok3 := strings.CutSuffix(rest, "\n")
	ok = ok1 && ok2 && ok3 && boot != "" && !strings.Contains(id+boot, "\n")
	return machine{id, boot}, ok
}

// maxMachine is the most bytes that a mark has.
const maxMachine = 1024

// mark makes the directory root this machine's, or says why another's it stays.
// shared tells that the file system may be another machine's at the same time.
func (here machine) mark(root string, shared bool) error {
	if here.boot == "" {
		return nil // a system that cannot tell, with no jails either
	}
	path := filepath.Join(root, machineFile)
	for range 3 {
		m, err := readMachine(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = place(path, here.text(), os.Link) // fails if somebody else was faster
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			return err
		case err == nil && m == here:
			return nil
		case shared && err != nil:
			return fmt.Errorf("workspace: %w; whether another machine uses DataDir cannot be told: remove the file once none does", err)
		case shared && !here.same(m):
			return fmt.Errorf("workspace: DataDir %s is on a file system that machines share, and another one (machine id %q) has used it: use a directory for each machine, or remove %s once that machine does not use it any more", root, m.id, path)
		}
		return place(path, here.text(), os.Rename)
	}
	return fmt.Errorf("workspace: %s comes and goes", path)
}

// readMachine reads a mark.
func readMachine(path string) (machine, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return machine{}, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxMachine {
		return machine{}, fmt.Errorf("%s is not a file of this program's", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return machine{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMachine))
	if err != nil {
		return machine{}, err
	}
	m, ok := parseMachine(string(b))
	if !ok {
		return machine{}, fmt.Errorf("%s is not a file of this program's", path)
	}
	return m, nil
}

// place makes a file with all its content at once, by linking or renaming it to
// where it belongs.
func place(path, text string, to func(oldpath, newpath string) error) (err error) {
	tmp := path + "." + trashName()
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return fmt.Errorf("workspace: DataDir: %w", err)
	}
	defer func() {
		if rmErr := os.Remove(tmp); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}()
	if err := to(tmp, path); err != nil {
		return fmt.Errorf("workspace: DataDir: %w", err)
	}
	return nil
}
