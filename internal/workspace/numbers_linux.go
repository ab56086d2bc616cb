package workspace

import (
	"errors"

	"github.com/agentflow-go/sandbox/internal/reserve"
)

// openNumbers opens the numbers of one lock file.
func openNumbers(path string) (numbers, error) {
	f, err := reserve.Open(path)
	if err != nil {
		return nil, err
	}
	return reserved{f}, nil
}

// reserved are numbers that take one descriptor together.
type reserved struct{ f *reserve.File }

// take ignores whether its last holder died: what lies on disk tells more.
func (r reserved) take() (int, error) {
	n, _, err := r.f.Take()
	return n, err
}

func (r reserved) takeN(n int) (bool, error) {
	_, err := r.f.TakeN(n)
	if errors.Is(err, reserve.ErrTaken) {
		return false, nil
	}
	return err == nil, err
}

func (r reserved) release(n int) error { return r.f.Release(n) }

func (r reserved) close() error { return r.f.Close() }
