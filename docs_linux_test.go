package sandbox_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/builtin"
	"github.com/google/go-cmp/cmp"
)

// block is one fenced block of a Markdown file.
type block struct {
	file string
	line int
	lang string
	text string
}

func blocks(t *testing.T, file string) []block {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	var b *block
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		lang, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && b == nil:
			b = &block{file: file, line: n, lang: strings.TrimSpace(lang)}
		case fence:
			all, b = append(all, *b), nil
		case b != nil:
			b.text += line
		}
	}
	if b != nil {
		t.Fatalf("%s:%d: the block does not end", file, b.line)
	}
	return all
}

// TestProgramsInTheDocumentsRun runs every complete Go program of the
// documents. Where a block of text follows, that is what it must print.
func TestProgramsInTheDocumentsRun(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, file := range append(files, "README.md") {
		all := blocks(t, file)
		for i, b := range all {
			if b.lang != "go" || !strings.HasPrefix(b.text, "package main\n") {
				if b.lang == "go" && file == "README.md" {
					t.Errorf("%s:%d: a Go block that is no complete program", file, b.line)
				}
				continue
			}
			found[file] = true
			t.Run(fmt.Sprintf("%s:%d", file, b.line), func(t *testing.T) {
				t.Parallel()
				got := runProgram(t, b)
				if i+1 < len(all) && all[i+1].lang == "text" {
					if diff := cmp.Diff(all[i+1].text, got); diff != "" {
						t.Errorf("output (-want +got):\n%s", diff)
					}
				}
			})
		}
	}
	if !found["README.md"] {
		t.Error("README.md has no Go program")
	}
}

// runProgram runs a Go program as if it were in a directory of this module.
func runProgram(t *testing.T, b block) string {
	t.Helper()
	dir := t.TempDir()
	src, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	at, err := filepath.Abs("internal/document/main.go") // it is not there
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := json.Marshal(map[string]any{"Replace": map[string]string{at: src}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{src: []byte(b.text), overlay: mapped} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-overlay", overlay, at)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	return stdout.String()
}

// TestConfigurationsInTheDocumentsAreValid validates every configuration on
// this host, as --validate does.
func TestConfigurationsInTheDocumentsAreValid(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	found := 0
	for _, b := range blocks(t, "docs/configuration.md") {
		if b.lang != "json" {
			continue
		}
		found++
		known := builtin.Components()
		c, err := sandbox.ParseConfig([]byte(b.text), func(name string) (string, bool) { return home, name == "HOME" })
		if err != nil {
			t.Errorf("%s:%d: %v", b.file, b.line, err)
			continue
		}
		for _, p := range c.Validate(t.Context(), known...) {
			if !p.Warning {
				t.Errorf("%s:%d: %v", b.file, b.line, p)
			}
		}
	}
	if found == 0 {
		t.Error("no configuration found")
	}
}

var linkTarget = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

func TestLinksInTheDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, top...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range linkTarget.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", file, link[1], err)
			}
		}
	}
}

// TestCurlExampleOfTheREADME runs it against the server that the README says to
// start.
func TestCurlExampleOfTheREADME(t *testing.T) {
	t.Parallel()
	const said = "127.0.0.1:18890"
	var example string
	for _, b := range blocks(t, "README.md") {
		if b.lang == "sh" && strings.HasPrefix(b.text, "curl ") {
			example = b.text
		}
	}
	if !strings.Contains(example, said) {
		t.Fatalf("no curl example for %s in README.md: %q", said, example)
	}
	example = strings.ReplaceAll(example, said, startServer(t))
	out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", example).CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", example, err, out)
	}
	var answer struct {
		Code int
		Data struct {
			Stdout   string
			ExitCode int `json:"exit_code"`
		}
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "uid=1000(agent) gid=1000(agent) groups=1000(agent)\n/workspace\nls: cannot access '/home': No such file or directory\n"
	if answer.Code != 0 || answer.Data.Stdout != want || answer.Data.ExitCode != 2 {
		t.Errorf("answer = %s\nwant stdout %q and exit code 2", out, want)
	}
}

var servingAt = regexp.MustCompile(`^Serving \d+ tools? on http://(\S+)\n$`)

// startServer starts the server on a free port and returns its address. It is
// stopped, in order, at the test's end.
func startServer(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "httpserver")
	goCommand(t, "build", "-o", bin, "./httpserver")
	cmd := exec.Command(bin, "--addr", "127.0.0.1:0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v\n%s", err, &stderr)
		}
	})
	first, err := bufio.NewReader(stdout).ReadString('\n')
	if found := servingAt.FindStringSubmatch(first); err == nil && found != nil {
		return found[1]
	}
	t.Fatalf("the server's first line is %q (%v), want its address", first, err)
	return ""
}
