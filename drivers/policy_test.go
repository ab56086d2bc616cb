package drivers_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
)

func TestWorkspaceIsShared(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		dir := t.TempDir()
		b := l.newBoxIn(t, sandbox.Confinement{}, dir)
		b.must("mkdir -p d && echo inside >d/file")
		found, err := filepath.Glob(filepath.Join(dir, "slots/*/workspace/d/file"))
		if err != nil || len(found) != 1 {
			t.Fatalf("found %q, %v; want the file in one workspace", found, err)
		}
		if text, err := os.ReadFile(found[0]); err != nil || string(text) != "inside\n" {
			t.Errorf("ReadFile() = %q, %v", text, err)
		}
		if err := os.WriteFile(found[0], []byte("outside\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := b.must("cat d/file; ls /.jail /home /root 2>/dev/null; touch /usr/x /x /etc/x 2>/dev/null || echo kept"); got != "outside\nkept\n" {
			t.Errorf("inside: %q", got)
		}
		other := b.sb.Worker("other")
		b.session(other)
		if out := b.runAs(other, bash.RunInput{Command: "ls -A /workspace; cat " + found[0]}); out.ExitCode == 0 || strings.Contains(out.Stdout, "outside") {
			t.Errorf("another worker: %+v", out)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		b := l.newBox(t, sandbox.Confinement{Limits: sandbox.Limits{Memory: 400 << 20, Files: 64, Processes: 100, CPU: 1.5}})
		if got := b.must("ulimit -n"); got != "64\n" {
			t.Errorf("descriptors: %q", got)
		}
		// Larger than the limit, and the end of what took it; gVisor ends as a whole.
		out, err := b.sh.Run.Call(t.Context(), b.w, bash.RunInput{Command: `python3 -c "x = bytearray(900 << 20); print(len(x))"; echo status $?`, Timeout: 60})
		if strings.Contains(out.Stdout, fmt.Sprint(900<<20)) {
			t.Errorf("900 MiB could be had: %+v, %v", out, err)
		}
	})
}

func TestEgress(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "welcome") }))
	t.Cleanup(web.Close)
	addr := strings.TrimPrefix(web.URL, "http://")
	eachLevel(t, func(t *testing.T, l level) {
		c := sandbox.Confinement{Egress: sandbox.Egress{Allow: []string{addr}}}
		if why := l.lacks["egress"]; why != "" {
			var reg sandbox.Registry
			o := l.options(c)
			o.Registry = &reg
			sb, err := sandbox.New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer sb.Shutdown(t.Context())
			if err := sb.Probe(t.Context()); !errors.Is(err, sandbox.ErrCannotEnforce) || !strings.Contains(err.Error(), "gVisor") {
				t.Errorf("Probe() with an allow list = %v, want it refused, for %s", err, why)
			}
			return
		}
		b := l.newBox(t, c)
		const curl = "curl -sS -m 20 --noproxy '' -x http://127.0.0.1:3128 "
		if got := b.must(curl + web.URL); got != "welcome" {
			t.Errorf("the listed host says %q", got)
		}
		out := b.run(bash.RunInput{Command: curl + "http://forbidden.example/"})
		if !strings.Contains(out.Stdout, "forbidden.example:80 is not in the allow list") {
			t.Errorf("another host: %+v", out)
		}
		if out := b.run(bash.RunInput{Command: "curl -sS -m 5 --noproxy '*' " + web.URL}); out.ExitCode == 0 {
			t.Errorf("the host can be reached without the proxy: %+v", out)
		}
	})
}

// What process 1 has of the host must not be there for programs to open, where the
// kernel lets them look.
func TestNothingOfTheHostIsOpenInTheFirstProcess(t *testing.T) {
	t.Parallel()
	eachLevel(t, func(t *testing.T, l level) {
		b := l.newBox(t, sandbox.Confinement{})
		got := b.must(`for f in /proc/1/fd/*; do to=$(readlink $f); case $to in host:*|socket:*|pipe:*) (: <>$f) 2>/dev/null && echo "$f $to"; esac; done; true`)
		for line := range strings.Lines(got) {
			if !strings.Contains(line, "pipe:") { // its own, between it and a program of this session
				t.Errorf("can be opened: %s", line)
			}
		}
		if out := b.run(bash.RunInput{Command: "ls /.jail/; cat /.jail/init /proc/1/exe /proc/1/mem"}); out.ExitCode == 0 || strings.Contains(out.Stdout, "ELF") {
			t.Errorf("the first process's program: %+v", out)
		}
	})
}
