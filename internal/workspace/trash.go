package workspace

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A name in the trash is trashNameLen lower-case hexadecimal digits, and that
// of a part of such a tree a further dash and as many again. Only such names
// are ever removed there.
const trashNameLen = 24

func trashName() string {
	b := make([]byte, trashNameLen/2)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// trashPart returns a name for a part of the tree name.
func trashPart(name string) string { return trashTree(name) + "-" + trashName() }

// trashTree returns the name of the tree that a name in the trash belongs to,
// "" if it is none of ours.
func trashTree(name string) string {
	tree, part, cut := strings.Cut(name, "-")
	if !isTrashHex(tree) || cut && !isTrashHex(part) {
		return ""
	}
	return tree
}

func isTrashHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == trashNameLen
}

// failures collects the errors of a removal, of which only the first few are
// of use to anybody.
type failures struct {
	errs []error
	more int
}

const maxFailures = 8

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	if len(f.errs) == maxFailures {
		f.more++
		return
	}
	f.errs = append(f.errs, err)
}

func (f *failures) err() error {
	if f.more > 0 {
		return errors.Join(append(f.errs, fmt.Errorf("and %d more errors", f.more))...)
	}
	return errors.Join(f.errs...)
}
