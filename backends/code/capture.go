package code

import (
	"fmt"
	"strings"
)

// capture keeps what one call writes to one stream: all of it, or once that is
// more than the limit, the first and the last half of the limit. The whole then
// goes to a file in the workspace.
type capture struct {
	half       int
	head, tail []byte // head is full before tail begins
	total      int64
	save       func() *file // nil: the whole is not kept
	file       *file
}

func newCapture(limit int, save func() *file) *capture {
	return &capture{half: max(1, limit/2), save: save}
}

func (c *capture) write(p []byte) {
	c.total += int64(len(p))
	if c.total > int64(2*c.half) && c.save != nil {
		if c.file == nil {
			c.file = c.save()
			c.file.Write(c.head)
			c.file.Write(c.tail)
		}
		c.file.Write(p)
	}
	n := min(c.half-len(c.head), len(p))
	c.head = append(c.head, p[:n]...)
	c.tail = append(c.tail, p[n:]...)
	if len(c.tail) > 2*c.half {
		c.tail = append(c.tail[:0], c.tail[len(c.tail)-c.half:]...)
	}
}

// text returns what was written as valid UTF-8, with a note in the place of
// what is missing, and the file that has the whole; "" if nothing is missing.
func (c *capture) text() (text, path string, cut bool) {
	head, tail := c.head, c.tail
	if c.total <= int64(2*c.half) {
		return strings.ToValidUTF8(string(head)+string(tail), "\uFFFD"), "", false
	}
	tail = tail[len(tail)-c.half:]
	note := fmt.Sprintf("[… %d of %d bytes left out", c.total-int64(len(head)+len(tail)), c.total)
	if c.file != nil {
		var err error
		path, err = c.file.close()
		switch {
		case path != "" && err == nil:
			note += "; the whole output is in " + path
		case path != "":
			note += fmt.Sprintf("; the output up to a fault (%v) is in %s", err, path)
		case err != nil:
			note += fmt.Sprintf("; it could not be saved: %v", err)
		}
	}
	return strings.ToValidUTF8(string(head), "\uFFFD") + "\n" + note + " …]\n" + strings.ToValidUTF8(string(tail), "\uFFFD"), path, true
}
