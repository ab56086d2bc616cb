// Package termtest attacks a terminal: a table of commands that try to end
// their call early, to hang it, to lose or forge output or to wreck the shell,
// with what each has to answer. Whoever starts shells in a way of their own can
// run it against that.
package termtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/output"
	"github.com/agentflow-go/sandbox/internal/term"
)

// Case is one attack. Before its steps the variable KEEP is set; after them
// "echo alive" has to work, and KEEP must still be there exactly unless Lost.
type Case struct {
	Name     string
	Separate bool // needs a standard error of its own
	Steps    []Step
	Lost     bool // the shell ends or has to be restarted
	Beyond   bool // the shell cannot be healed, which is not to be waited for long
	Deaf     bool // what runs takes no notice of the interrupt, which is not to be waited for long
	Slow     bool // left out of short runs
}

// Step is one command and its expected result.
type Step struct {
	Run     string
	Timeout time.Duration // 0: a minute
	Until   string        // the caller gives up once this is printed; "": never

	Out   string // exact, unless Check is set
	Err   string // exact standard error, where separate
	Check func(out []byte) error

	Code      int // -2: not checked
	TimedOut  bool
	Restarted bool
	Whenever  bool // Restarted is not checked: it may come in this call or the next
}

// Run runs all cases, each in a shell of its own that open makes; it closes it.
func Run(t *testing.T, open func(t *testing.T, o term.Options) *term.Shell) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if c.Slow && testing.Short() {
				t.Skip("slow case, left out by -short")
			}
			o := term.Options{SeparateStderr: c.Separate}
			if c.Deaf {
				o.Grace = 300 * time.Millisecond
			}
			if c.Beyond {
				o.Heal = time.Second
			}
			RunCase(t, c, open(t, o))
		})
	}
}

// RunCase runs one case in a shell.
func RunCase(t *testing.T, c Case, sh *term.Shell) {
	defer func() {
		if err := sh.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	RunStep(t, sh, Step{Run: "KEEP=kept"})
	for _, s := range c.Steps {
		RunStep(t, sh, s)
	}
	RunStep(t, sh, Step{Run: "echo alive", Out: "alive\n"})
	kept := "kept\n"
	if c.Lost {
		kept = "\n"
	}
	RunStep(t, sh, Step{Run: `echo "${KEEP-}"`, Out: kept})
}

// most is how much output a case sees: the two ends of what is longer.
const most = 1 << 20

// RunStep runs one step and compares.
func RunStep(t *testing.T, sh *term.Shell, s Step) {
	t.Helper()
	limit := s.Timeout
	if limit == 0 {
		limit = time.Minute
	}
	// No case may hang: the deadline is far above what the shell may take.
	ctx, cancel := context.WithTimeout(context.Background(), limit+20*time.Second)
	defer cancel()
	var live func(string)
	if s.Until != "" {
		seen := ""
		live = func(text string) {
			if seen += text; strings.Contains(seen, s.Until) {
				cancel()
			}
		}
	}
	var stderr bytes.Buffer
	stdout := output.New(most, output.File{}, live)
	res, err := sh.Run(ctx, term.Command{Text: s.Run, Timeout: limit, Stdout: stdout, Stderr: &stderr})
	name := fmt.Sprintf("Run(%.80q)", s.Run)
	if s.Until != "" {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want the context's error", name, err)
		}
	} else if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	out := slices.Concat(stdout.Ends())
	if s.Check != nil {
		if err := s.Check(out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	} else if string(out) != s.Out {
		t.Errorf("%s: output %.300q, want %.300q", name, out, s.Out)
	}
	if e := stderr.String(); e != s.Err {
		t.Errorf("%s: standard error %.300q, want %.300q", name, e, s.Err)
	}
	if s.Code != -2 && res.ExitCode != s.Code {
		t.Errorf("%s: exit code %d, want %d", name, res.ExitCode, s.Code)
	}
	if res.TimedOut != s.TimedOut {
		t.Errorf("%s: timed out %v, want %v", name, res.TimedOut, s.TimedOut)
	}
	if res.Restarted != s.Restarted && !s.Whenever {
		t.Errorf("%s: restarted %v (%s), want %v", name, res.Restarted, res.Reason, s.Restarted)
	}
}

func length(n int) func([]byte) error {
	return func(out []byte) error {
		if len(out) != n {
			return fmt.Errorf("%d bytes of output, want %d", len(out), n)
		}
		return nil
	}
}

func contains(want ...string) func([]byte) error {
	return func(out []byte) error {
		for _, w := range want {
			if !bytes.Contains(out, []byte(w)) {
				return fmt.Errorf("output %.500q lacks %q", out, w)
			}
		}
		return nil
	}
}

func anything([]byte) error { return nil }
