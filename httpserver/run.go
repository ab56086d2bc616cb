package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

// run does what the command line says and returns the exit status.
func (p program) run() int {
	f, err := parseFlags(p.args, p.stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(p.stderr, "httpserver: %v\nhttpserver --help lists the flags.\n", err)
		return exitUnreadable
	case f.version:
		fmt.Fprintln(p.stdout, "httpserver", version())
		return 0
	}
	c, err := p.load(f)
	switch {
	case f.validate:
		return p.validate(f, c, err)
	case err != nil:
		fmt.Fprintln(p.stderr, "httpserver:", err)
		return exitFailed
	case f.showConfig:
		return p.showConfig(f, c)
	}
	if err := p.serve(f, c); err != nil {
		fmt.Fprintln(p.stderr, "httpserver:", err)
		return exitFailed
	}
	return 0
}

// load reads the configuration.
func (p program) load(f flags) (*sandbox.Config, error) {
	if f.config == "" {
		return sandbox.DefaultConfig(p.known...), nil
	}
	return sandbox.LoadConfig(f.config)
}

// version returns the module's version as the build knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// showConfig says what the configuration switches on.
func (p program) showConfig(f flags, c *sandbox.Config) int {
	server := c.Server()
	title := server.Title
	if title == "" {
		title = api.DefaultTitle
	}
	fmt.Fprintf(p.stdout, "Title:       %s\n", title)
	fmt.Fprintf(p.stdout, "Address:     %s\n", f.address(server.Addr))
	ttl := "never"
	if d := c.SessionTTL(); d >= 0 {
		ttl = d.String()
	}
	fmt.Fprintf(p.stdout, "Session TTL: %s\n", ttl)
	fmt.Fprintf(p.stdout, "Enabled:     %s\n", strings.Join(c.Components(p.known...), ", "))
	p.printWarnings(append(c.Warnings(), c.Skipped(p.known...)...))
	return 0
}

func (p program) printWarnings(warnings []sandbox.Problem) {
	for _, w := range warnings {
		fmt.Fprintf(p.stdout, "Warning:     %s\n", w)
	}
}

// tokens returns what callers must present one of; none means that nothing is
// asked for.
func tokens(f flags, server sandbox.ServerConfig) ([]api.Token, error) {
	var all []api.Token
	if server.APIKey != "" {
		all = append(all, api.Token{Secret: server.APIKey})
	}
	file := server.TokensFile
	if f.tokensFile != "" {
		file = f.tokensFile
	}
	if file == "" {
		return all, nil
	}
	read, err := readTokens(file)
	return append(all, read...), err
}

// logger writes text to the standard error. Its handler quotes what is not
// plain, so that an agent's text can neither forge a line nor reach a
// terminal.
func (p program) logger(f flags, server sandbox.ServerConfig) *slog.Logger {
	level := server.LogLevel
	if f.logLevel != nil {
		level = *f.logLevel
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level}))
}

// warm warms up what the configuration says. One failure aborts the start.
func warm(ctx context.Context, sb *sandbox.Sandbox, names []string) error {
	err := sb.Start(ctx, names...)
	if err == nil {
		return nil
	}
	st, statusErr := sb.Status(ctx)
	if statusErr != nil {
		return errors.Join(err, statusErr)
	}
	var failed []string
	for _, b := range st.Backends {
		if b.Err != "" {
			failed = append(failed, b.Name+" -> "+b.Err)
		}
	}
	if len(failed) == 0 {
		return err
	}
	//lint:ignore ST1005 the protocol's words
	return fmt.Errorf("Warmup failed for backends: %s", strings.Join(failed, ", "))
}
