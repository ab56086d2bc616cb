package workspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// numbers reserves numbers against other users of the same file, in this
// program and in others. What a program holds becomes free when it dies.
type numbers interface {
	take() (int, error)        // the smallest free number
	takeN(n int) (bool, error) // false: somebody holds it
	release(n int) error
	close() error // releases all
}

// lockFiles are numbers held by locking one file each: portable, at the price
// of a descriptor a number.
type lockFiles struct {
	dir string

	mu   sync.Mutex // guards what follows
	held map[int]*os.File
	low  int // no number below it is free here
}

func openLockFiles(path string) (*lockFiles, error) {
	l := &lockFiles{dir: path, held: map[int]*os.File{}}
	if err := makePrivate(l.dir); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *lockFiles) take() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := l.low; ; n++ {
		ok, err := l.lock(n)
		if err != nil {
			return 0, err
		}
		if ok {
			l.low = n + 1
			return n, nil
		}
	}
}

func (l *lockFiles) takeN(n int) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lock(n)
}

func (l *lockFiles) lock(n int) (bool, error) {
	if l.held[n] != nil {
		return false, nil
	}
	f, err := lockFile(filepath.Join(l.dir, strconv.Itoa(n)))
	if errors.Is(err, errLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.held[n] = f
	return true, nil
}

func (l *lockFiles) release(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.held[n]
	if f == nil {
		return fmt.Errorf("slot %d is not held", n)
	}
	delete(l.held, n)
	l.low = min(l.low, n)
	return unlock(f)
}

func (l *lockFiles) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, f := range l.held {
		errs = append(errs, unlock(f))
	}
	clear(l.held)
	return errors.Join(errs...)
}
