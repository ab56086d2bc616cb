package gate_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox/internal/gate"
)

func open(t *testing.T) *gate.Gate {
	t.Helper()
	// Longer than a socket's path may be.
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g, err := gate.Open(dir, strings.NewReader("#!/bin/true\n"), 0o111)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestADoorIsEmptyOnceItIsShut(t *testing.T) { // not parallel: it changes the directory
	d, err := open(t).New()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Listen(os.Getuid(), os.Getgid()); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(d.Dir, gate.ProgramName))
	if err != nil || st.Mode().Perm() != 0o111 {
		t.Errorf("the program is %v, %v; want mode 0111", st, err)
	}
	t.Chdir(d.Dir)
	dialled := make(chan error, 1)
	go func() {
		c, err := net.Dial("unix", gate.SocketName)
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		dialled <- err
	}()
	c, err := d.Accept(t.Context(), func() error { return nil })
	if err = errors.Join(err, <-dialled); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 1)
	if n, err := c.Read(b); n != 1 || err != nil {
		t.Errorf("Read() = %d, %v", n, err)
	}
	if _, err := net.Dial("unix", gate.SocketName); err == nil {
		t.Error("a second connection was let in")
	}
	d.Shut()
	if left, err := os.ReadDir(d.Dir); err != nil || len(left) > 0 {
		t.Errorf("the directory has %v, %v; want nothing", left, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestAcceptEndsWithTheContainerOrTheContext(t *testing.T) {
	t.Parallel()
	g, gone := open(t), errors.New("gone")
	ctx, cancel := context.WithCancel(t.Context())
	for want, try := range map[error]func() (context.Context, error){
		gone:             func() (context.Context, error) { return t.Context(), gone },
		context.Canceled: func() (context.Context, error) { cancel(); return ctx, nil },
	} {
		d, err := g.New()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Listen(os.Getuid(), os.Getgid()); err != nil {
			t.Fatal(err)
		}
		c, alive := try()
		if _, err := d.Accept(c, func() error { return alive }); !errors.Is(err, want) {
			t.Errorf("Accept() = %v, want %v", err, want)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
