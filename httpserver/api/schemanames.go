package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Function names of chat models: letters, digits, _ and -, up to 64.
const maxFunctionName = 64

// schemaNames gives each tool a name that chat models accept as a function's,
// and finds the tool by it. Mostly that is the full name with a hyphen for its
// colon, which executors resolve themselves.
type schemaNames struct {
	of   map[string]string // full name → schema name
	full map[string]string // schema name → full name, where executors do not know it
}

func newSchemaNames(tools []sandbox.ToolInfo) schemaNames {
	n := schemaNames{of: map[string]string{}, full: map[string]string{}}
	exact, simple := map[string]string{}, map[string]bool{}
	for _, t := range tools {
		exact[t.FullName] = t.FullName
		for _, alias := range t.Aliases {
			exact[alias] = t.FullName
		}
		simple[t.Name] = true
	}
	for _, t := range tools {
		name := functionName(t.FullName)
		switch found := resolveVariant(exact, name); {
		case found == t.FullName && len(name) <= maxFunctionName:
			n.of[t.FullName] = name
			continue
		case found != "" || simple[name] || n.full[name] != "" || len(name) > maxFunctionName:
			// The name means another tool: tell them apart by a digest.
			sum := sha256.Sum256([]byte(t.FullName))
			name = name[:min(len(name), maxFunctionName-9)] + "-" + hex.EncodeToString(sum[:4])
		}
		n.of[t.FullName], n.full[name] = name, t.FullName
	}
	return n
}

// functionName replaces what a function's name may not hold by hyphens.
func functionName(full string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, full)
}

// resolveVariant finds what an executor makes of a name without colon: see
// section 4.1 of the protocol.
func resolveVariant(exact map[string]string, name string) string {
	for _, sep := range []string{".", "_", "-"} {
		if group, rest, ok := strings.Cut(name, sep); ok {
			if full := exact[group+":"+rest]; full != "" {
				return full
			}
		}
	}
	return exact[name]
}

// schemaNameCache keeps the names for a while: they change with the tools only.
type schemaNameCache struct {
	mu    sync.Mutex // guards the following; not held while the executor is asked
	names schemaNames
	until time.Time
}

const schemaNamesKept = 10 * time.Second

// toolName returns the full name of the tool that a schema name stands for, and
// any other name as it is.
func (q *request) toolName(ctx context.Context, name string) string {
	if !strings.Contains(name, "-") || strings.Contains(name, ":") {
		return name
	}
	c := &q.schemaNames
	c.mu.Lock()
	names, fresh := c.names, time.Now().Before(c.until)
	c.mu.Unlock()
	if !fresh {
		tools, err := q.ex.Tools(ctx, sandbox.ToolFilter{Hidden: true})
		if err != nil {
			return name
		}
		names = newSchemaNames(tools)
		c.mu.Lock()
		c.names, c.until = names, time.Now().Add(schemaNamesKept)
		c.mu.Unlock()
	}
	if full, ok := names.full[name]; ok {
		return full
	}
	return name
}
