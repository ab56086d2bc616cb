package sandbox_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentflow-go/sandbox"
)

// slow is a source that takes more than the idle time of a worker to come.
type slow struct{ pieces int }

func (s *slow) Read(p []byte) (int, error) {
	if s.pieces--; s.pieces < 0 {
		return 0, io.EOF
	}
	<-time.After(time.Hour)
	return copy(p, "piece"), nil
}

// A transfer keeps its worker, however long it takes, and the worker's idle time
// begins when it ends.
func TestTransfersHoldTheirWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(sandbox.BackendSpec{}, sandbox.BackendFuncs[*counter]{})
		sb := newSandbox(t, f.reg, sandbox.Options{WorkerTTL: time.Hour, Confine: sandbox.Confinement{Level: "none"}})
		workers := func() int { st, _ := sb.Status(t.Context()); return st.Workers }
		if _, err := sb.StoreFile(t.Context(), "w", "file", &slow{pieces: 3}, sandbox.CreateOptions{}); err != nil {
			t.Fatalf("StoreFile over three hours: %v", err)
		}
		<-time.After(59 * time.Minute)
		file, err := sb.OpenFile(t.Context(), "w", "file")
		if err != nil {
			t.Fatalf("OpenFile: %v", err)
		}
		<-time.After(3 * time.Hour)
		if n := workers(); n != 1 {
			t.Errorf("%d workers while a file is open, want 1", n)
		}
		if b, err := io.ReadAll(file); err != nil || len(b) != 15 {
			t.Errorf("the file has %q, %v", b, err)
		}
		for range 2 { // once counts
			_ = file.Close()
		}
		<-time.After(59 * time.Minute)
		if n := workers(); n != 1 {
			t.Errorf("%d workers within the hour, want 1", n)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if n := workers(); n != 0 {
			t.Errorf("%d workers after the hour, want 0", n)
		}
	})
}
