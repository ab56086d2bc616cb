package drivers_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/drivers/docker"
)

// imageScript writes an archive of a shell and a few programs with their libraries,
// which is nothing like the host, and has a /root.
const imageScript = `
set -e
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
for p in bash cat ls id mkdir; do
	p=$(command -v $p)
	for f in $p $(ldd $p | grep -o '/[^ ]*'); do
		mkdir -p "$root$(dirname $f)" && cp -L $f "$root$f"
	done
done
[ -e "$root/bin/bash" ] || { mkdir -p "$root/bin"; cp "$root/usr/bin/bash" "$root/bin/bash"; }
mkdir -p "$root/root" "$root/etc" "$root/tmp" "$root/home"
echo image >"$root/etc/issue"
tar -C "$root" -c .
`

func TestImage(t *testing.T) {
	t.Parallel()
	l := dockerLevel(t)
	files, err := exec.CommandContext(t.Context(), "bash", "-c", imageScript).Output()
	if err != nil {
		t.Fatal(err)
	}
	load := exec.CommandContext(t.Context(), "docker", "--host", dockerHost, "import", "-", "drivers-test:1")
	load.Stdin = bytes.NewReader(files)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	l.driver = docker.Driver(docker.Config{Host: dockerHost, Image: "drivers-test:1", Runtime: "runc"})
	b := l.newBox(t, sandbox.Confinement{})
	if got := b.must("cat /etc/issue; pwd; echo $(id -un); mkdir d && ls; [ -e /usr/bin/python3 ] || echo none"); got != "image\n/workspace\nagent\nd\nnone\n" {
		t.Errorf("inside: %q", got)
	}
	for want, c := range map[string]docker.Config{
		"never pulled":    {Image: "drivers-test:none"},
		"no runtime":      {Runtime: "none"},
		"not answer":      {Host: "unix:///nowhere/docker.sock"},
		"another machine": {Host: "tcp://127.0.0.1:2375"},
	} {
		if c.Host == "" {
			c.Host = dockerHost
		}
		o := level{name: "docker", driver: docker.Driver(c)}.options(sandbox.Confinement{})
		o.Registry = new(sandbox.Registry)
		sb, err := sandbox.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := sb.Probe(t.Context()); !errors.Is(err, sandbox.ErrCannotEnforce) || !strings.Contains(err.Error(), want) {
			t.Errorf("Probe() with %+v = %v, want %q", c, err, want)
		}
		if err := sb.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
