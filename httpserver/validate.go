package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"strings"
	"syscall"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

// validate reports what is wrong with a configuration that was read, or that
// could not be because of err.
func (p program) validate(f flags, c *sandbox.Config, err error) int {
	name := f.config
	if name == "" {
		name = "the default configuration"
	}
	var problems []sandbox.Problem
	if err != nil {
		ce, ok := errors.AsType[*sandbox.ConfigError](err)
		if !ok {
			fmt.Fprintf(p.stderr, "httpserver: %v\n", err)
			return exitUnreadable
		}
		problems = ce.Problems
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		problems = append(c.Validate(ctx, p.known...), checkServer(f, c.Server())...)
	}
	if !report(p.stdout, name, problems) {
		return exitFailed
	}
	return 0
}

// checkServer tries out what the server itself needs.
func checkServer(f flags, server sandbox.ServerConfig) []sandbox.Problem {
	var problems []sandbox.Problem
	keys, err := tokens(f, server)
	if err != nil {
		return []sandbox.Problem{{Key: "server.tokens_file", Text: err.Error()}}
	}
	addr := f.address(server.Addr)
	l, err := listen(f, addr, keys)
	switch {
	case err == nil:
		l.Close()
	case errors.Is(err, errInUse):
		if err := exposedIfFree(f, addr, keys); err != nil {
			problems = append(problems, sandbox.Problem{Key: "server.host", Text: err.Error()})
		}
		problems = append(problems, sandbox.Problem{Key: "server.port", Warning: true,
			Text: addr + " is in use now", Remedy: "it must be free when the server starts"})
	default:
		problems = append(problems, sandbox.Problem{Key: "server.host", Text: err.Error()})
	}
	return problems
}

// exposedIfFree is as exposed for an address that is in use now, which must not
// hide that the server would refuse it.
func exposedIfFree(f flags, addr string, keys []api.Token) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return err
	}
	defer l.Close()
	return exposed(f, addr, l, keys)
}

// report prints problems in the layout of the documented validation mode and
// reports whether there are no errors among them.
func report(w io.Writer, name string, problems []sandbox.Problem) bool {
	var errs, warnings []sandbox.Problem
	for _, p := range problems {
		if p.Warning {
			warnings = append(warnings, p)
		} else {
			errs = append(errs, p)
		}
	}
	if len(errs) > 0 {
		fmt.Fprintf(w, "❌ Validation failed: %s\n", name)
	} else {
		fmt.Fprintf(w, "✅ Valid: %s\n", name)
	}
	list := func(label string, problems []sandbox.Problem) {
		if len(problems) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s:\n", label)
		for i, p := range problems {
			key := p.Key
			if key == "" {
				key = "configuration"
			}
			fmt.Fprintf(w, "  %d. [%s] %s\n", i+1, key, indent(p.Text))
			if p.Remedy != "" {
				fmt.Fprintf(w, "     → %s\n", indent(p.Remedy))
			}
		}
	}
	list("Errors", errs)
	list("Warnings", warnings)
	fmt.Fprintf(w, "\nResult: %s, %s\n", count(len(errs), "error"), count(len(warnings), "warning"))
	return len(errs) == 0
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n     ") }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
