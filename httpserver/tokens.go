package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/agentflow-go/sandbox/httpserver/api"
)

// maxTokens bounds a tokens file in bytes.
const maxTokens = 1 << 20

// readTokens reads a file of tokens: one a line, with the prefix of the worker
// ids it is bound to behind it, if any. Empty lines and those that begin with
// # do not count. A file that others can read or write keeps no secret and is
// refused.
func readTokens(path string) ([]api.Token, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	switch mode := fi.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("tokens file %s: expected a regular file", path)
	case fi.Size() > maxTokens:
		return nil, fmt.Errorf("tokens file %s: expected at most %d bytes", path, maxTokens)
	case runtime.GOOS != "windows" && mode.Perm()&0o027 != 0:
		return nil, fmt.Errorf("tokens file %s: others can read or change it (mode %04o): chmod 600 %s", path, mode.Perm(), path)
	}
	tokens, err := parseTokens(io.LimitReader(f, maxTokens))
	if err != nil {
		return nil, fmt.Errorf("tokens file %s: %w", path, err)
	}
	return tokens, nil
}

// minToken is the shortest token that is taken for a secret.
const minToken = 16

func parseTokens(r io.Reader) ([]api.Token, error) {
	var tokens []api.Token
	seen := map[string]int{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		// No error repeats what is in the file: errors end in logs.
		switch first, twice := seen[fields[0]]; {
		case len(fields) > 2:
			return nil, fmt.Errorf("line %d: expected a token and at most one worker prefix", n)
		case len(fields[0]) < minToken:
			return nil, fmt.Errorf("line %d: the token has %d characters, expected at least %d, such as from: openssl rand -hex 32", n, len(fields[0]), minToken)
		case twice:
			return nil, fmt.Errorf("line %d: the token is in line %d already", n, first)
		}
		seen[fields[0]] = n
		t := api.Token{Secret: fields[0]}
		if len(fields) == 2 {
			t.WorkerPrefix = fields[1]
		}
		tokens = append(tokens, t)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, errors.New("it holds no token")
	}
	return tokens, nil
}
