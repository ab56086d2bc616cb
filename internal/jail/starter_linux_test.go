package jail

import (
	"errors"
	"os"
	"testing"
)

// A start that hangs may outlast the closing of the host.
func TestNothingStartsAfterTheStarterHasEnded(t *testing.T) {
	t.Parallel()
	s := newStarter()
	if err := s.do(func() error { return os.ErrExist }); !errors.Is(err, os.ErrExist) {
		t.Errorf("do() = %v, want the function's own error", err)
	}
	s.close()
	if p, _, err := s.start(nil, nil, "/bin/true", []string{"true"}, &os.ProcAttr{}); p != nil || !errors.Is(err, ErrClosed) {
		t.Errorf("start() after close = %v, %v, want ErrClosed", p, err)
	}
	sc := newScript()
	defer sc.close()
	sc.end()
	if p, err := s.launch(sc, 0); p != nil || !errors.Is(err, ErrClosed) {
		t.Errorf("launch() after close = %v, %v, want ErrClosed", p, err)
	}
	(&staging{s: s}).drop("/nonexistent")
}
