package code

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox"
)

const (
	maxPackages  = 100
	installLimit = 10 * time.Minute
	installTail  = 4 << 10 // bytes of an installer's output in an error
)

// InstallInput is what code:install takes.
type InstallInput struct {
	Packages []string `json:"packages" jsonschema:"what to install, as pip or npm know it: requests, numpy==1.26.4, lodash@4, or a file or directory in the workspace"`
	Language string   `json:"language,omitzero" jsonschema:"python or javascript; default python"`
}

// InstallOutput is what code:install returns.
type InstallOutput struct {
	Language string   `json:"language"`
	Packages []string `json:"packages"`
	Output   string   `json:"output" jsonschema:"the end of what the installer printed"`

	ExecutionTimeMS float64 `json:"execution_time_ms"`
}

// importModule lets import find the packages of JavaScript, which it looks for
// beside the module that asks.
const importModule = "export default (spec) => import(spec);\n"

// Install installs packages into the workspace, where the session's interpreters
// find them. It waits for code that runs in the language.
func (s *Session) Install(ctx context.Context, in InstallInput) (InstallOutput, error) {
	return s.install(ctx, sandbox.Call{}, in)
}

func (s *Session) install(ctx context.Context, call sandbox.Call, in InstallInput) (InstallOutput, error) {
	it, err := s.interp(in.Language)
	if err != nil {
		return InstallOutput{}, err
	}
	if err := checkPackages(in.Packages); err != nil {
		return InstallOutput{}, err
	}
	release, err := it.take(ctx)
	if err != nil {
		return InstallOutput{}, err
	}
	defer release()
	ctx, cancel := context.WithTimeoutCause(ctx, installLimit, errors.New("the installation took longer than "+installLimit.String()))
	defer cancel()
	env := *s.env.Load()
	home, err := env.Home(ctx)
	if err != nil {
		return InstallOutput{}, err
	}
	network, err := s.network(ctx, home)
	if err != nil {
		return InstallOutput{}, err
	}
	dir := home + "/" + packagesDir
	c := sandbox.Cmd{Env: append(s.set.environ(home), "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_NO_INPUT=1", "PYTHONSAFEPATH=1", "PIP_ROOT_USER_ACTION=ignore", "PIP_PROGRESS_BAR=off")}
	switch it.language {
	case python:
		c.Path = s.set.interpreter(python)
		c.Args = []string{"-m", "pip", "install", "--target", dir + "/python", "--upgrade", "--no-cache-dir"}
		if !network {
			c.Args = append(c.Args, "--no-index", "--no-build-isolation")
		}
	case javascript:
		c.Path = "npm"
		c.Args = []string{"install", "--prefix", dir + "/node", "--cache", "/tmp/.npm", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error"}
		if !network {
			c.Args = append(c.Args, "--offline")
		}
	default:
		return InstallOutput{}, sandbox.Errorf(sandbox.ErrInvalidInput, "/language: packages of %s cannot be installed; %s and %s have them", it.language, python, javascript)
	}
	c.Args = append(append(c.Args, "--"), in.Packages...)
	start := time.Now()
	tail := &tailWriter{}
	c.Stdout, c.Stderr = tail, tail
	if err := runProgram(ctx, env, c); err != nil {
		if ctx.Err() != nil {
			return InstallOutput{}, context.Cause(ctx)
		}
		return InstallOutput{}, installError(it.language, network, denials(call), tail.text(), err)
	}
	if it.language == javascript {
		files, err := env.Files()
		if err != nil {
			return InstallOutput{}, err
		}
		if _, err := files.WriteFile(packagesDir+"/node/import.mjs", strings.NewReader(importModule), sandbox.CreateOptions{Parents: true}); err != nil {
			return InstallOutput{}, err
		}
	}
	if err := it.refresh(ctx); err != nil {
		return InstallOutput{}, err
	}
	return InstallOutput{
		Language: it.language, Packages: in.Packages, Output: tail.text(),
		ExecutionTimeMS: float64(time.Since(start).Microseconds()) / 1000,
	}, nil
}

func checkPackages(packages []string) error {
	if len(packages) == 0 || len(packages) > maxPackages {
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/packages: %d of them; give 1 to %d", len(packages), maxPackages)
	}
	for i, p := range packages {
		if p == "" || len(p) > 1000 || strings.HasPrefix(p, "-") || strings.ContainsAny(p, "\x00\n") {
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/packages/%d: %.100q; give a package, not an option", i, p)
		}
	}
	return nil
}

// network reports whether programs of the session have a way out: under
// confinement that is the proxy, which their environment names.
func (s *Session) network(ctx context.Context, home string) (bool, error) {
	if home != "/workspace" {
		return true, nil
	}
	out := &tailWriter{}
	err := runProgram(ctx, *s.env.Load(), sandbox.Cmd{Path: "/usr/bin/printenv", Args: []string{"HTTP_PROXY"}, Stdout: out})
	if _, ok := errors.AsType[*sandbox.ExitError](err); err != nil && !ok {
		return false, err
	}
	return err == nil && out.text() != "", nil
}

// installError says what is to be done.
func installError(language string, network bool, denied []string, output string, err error) error {
	switch {
	case strings.Contains(output, "No module named pip"):
		return sandbox.Errorf(sandbox.ErrDependency, "install: this host's Python has no pip; install it there (python3-pip)")
	case errors.Is(err, sandbox.ErrInvalidInput):
		return sandbox.Errorf(sandbox.ErrDependency, "install: %w", err)
	case !network:
		return sandbox.Errorf(sandbox.ErrDenied, "install: this session has no network, so packages come from files in the workspace only; "+
			"to let %s reach its index, list the index's hosts in confinement.egress.allow. It said:\n%s", language, output)
	case len(denied) > 0:
		return sandbox.Errorf(sandbox.ErrDenied, "install: %w: %s; to let it through, list the host in confinement.egress.allow. It said:\n%s", err, strings.Join(denied, "; "), output)
	}
	return sandbox.Errorf(sandbox.ErrDependency, "install: %w:\n%s", err, output)
}

// runProgram runs a program to its end; when ctx ends, it is killed.
func runProgram(ctx context.Context, env sandbox.Env, c sandbox.Cmd) error {
	p, err := env.Start(ctx, c)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() }) // Wait tells its end
	defer stop()
	return p.Wait()
}

// tailWriter keeps the end of what is written. It is used by one goroutine at a
// time.
type tailWriter struct{ buf []byte }

func (w *tailWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	if len(w.buf) > 4*installTail {
		w.buf = append(w.buf[:0], w.buf[len(w.buf)-installTail:]...)
	}
	return len(p), nil
}

func (w *tailWriter) text() string {
	return strings.ToValidUTF8(string(bytes.TrimSpace(w.buf[max(0, len(w.buf)-installTail):])), "\uFFFD")
}
