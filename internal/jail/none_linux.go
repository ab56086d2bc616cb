package jail

import (
	"os"
)

// startNone starts the first process of an unconfined jail: this program again,
// as a child like any other. It ends when the socket does, after killing what it
// started; it is not made to die with this program, for then it could not.
func (h *Host) startNone(group *memberGroup, sock, stderr *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	p, finish, err := h.starter.start(group, exePath, []string{exePath, marker}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: []*os.File{null, null, stderr, sock, h.self},
	})
	if err != nil || finish == nil {
		return p, err
	}
	// It starts nothing before the handshake.
	if err := finish(); err != nil {
		_ = p.Kill()
		_, _ = p.Wait() // killed
		return nil, err
	}
	return p, nil
}
