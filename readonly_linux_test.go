package sandbox_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
)

// givenDir returns a directory of the host with a file in it, where jails may look.
func givenDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var", "sandbox-given-")
	if err != nil {
		t.Skipf("NOT TESTED: jails may not see /tmp, and no directory elsewhere can be made: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/data", []byte("given\n"), 0o666), os.Chmod(dir+"/data", 0o666)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestProgramsReadWhatTheSandboxGivesThem(t *testing.T) {
	t.Parallel()
	dir := givenDir(t)
	for _, level := range []string{"bwrap", "native"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			var reg sandbox.Registry
			tool := addShell(&reg, "sh")
			sb := newSandbox(t, &reg, sandbox.Options{Confine: sandbox.Confinement{Level: level, ReadOnly: []string{dir}}})
			w := sb.Worker("w")
			got := sh(t, tool, w, "cat "+dir+"/data; (echo x > "+dir+"/data) 2>&1; ls -d /var/sandbox-* | wc -l")
			if !strings.HasPrefix(got, "given\n") || !strings.Contains(got, "Read-only file system") || !strings.HasSuffix(got, "\n1") {
				t.Errorf("programs see %q", got)
			}
			same := sandbox.SessionOptions{Confinement: &sandbox.Confinement{ReadOnly: []string{dir}}}
			if _, err := w.CreateSession(t.Context(), "sh", same); err != nil {
				t.Errorf("a session with the sandbox's paths: %v", err)
			}
			other := sandbox.SessionOptions{Confinement: &sandbox.Confinement{ReadOnly: []string{"/opt"}}}
			_, err := sb.Worker("v").CreateSession(t.Context(), "sh", other)
			wantCode(t, err, sandbox.ErrCannotEnforce)
		})
	}
}

func TestPathsThatNoJailMaySeeAreRefused(t *testing.T) {
	t.Parallel()
	dir := givenDir(t)
	ln, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, path := range []string{"/", "/run", "/root", "relative", "/no/such/path", dir} {
		sb := newSandbox(t, new(sandbox.Registry), sandbox.Options{Confine: sandbox.Confinement{ReadOnly: []string{path}}})
		err := sb.Probe(t.Context())
		wantCode(t, err, sandbox.ErrInvalidInput)
		if err != nil && (!strings.Contains(err.Error(), "confinement.read_only") || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v; want the key and the path", path, err)
		}
	}
}
