package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// toolView is a tool as the listings show it. The first five members are the
// protocol's, the others ours.
type toolView struct {
	Name         string          `json:"name"`
	FullName     string          `json:"full_name"`
	ResourceType *string         `json:"resource_type"`
	Stateless    bool            `json:"stateless"`
	Description  string          `json:"description"`
	Parameters   []parameterView `json:"parameters"`
	InputSchema  json.RawMessage `json:"input_schema"`
	OutputSchema json.RawMessage `json:"output_schema,omitempty"`
	Aliases      []string        `json:"aliases,omitempty"`
	Backend      string          `json:"backend,omitempty"`
	Label        string          `json:"label,omitempty"`
	Session      bool            `json:"session,omitempty"`
	ReadOnly     bool            `json:"read_only,omitempty"`
	Idempotent   bool            `json:"idempotent,omitempty"`
	Hidden       bool            `json:"hidden,omitempty"`
}

func viewTool(t sandbox.ToolInfo) toolView {
	v := toolView{
		Name: t.Name, FullName: t.FullName, Stateless: t.Backend == "", Description: t.Description,
		Parameters: parameters(t.InputSchema), InputSchema: t.InputSchema, OutputSchema: t.OutputSchema,
		Aliases: t.Aliases, Backend: t.Backend, Label: t.Label, Session: t.Session,
		ReadOnly: t.ReadOnly, Idempotent: t.Idempotent, Hidden: t.Hidden,
	}
	if group, _, ok := strings.Cut(t.FullName, ":"); ok {
		v.ResourceType = &group
	}
	if len(v.InputSchema) == 0 {
		v.InputSchema = json.RawMessage(`{"type":"object"}`)
	}
	return v
}

// allowedNames splits the entries of a filter, which may be separated by commas
// or spaces too. As the protocol has it, none allow everything.
func allowedNames(entries []string) (names []string) {
	for _, entry := range entries {
		names = append(names, strings.FieldsFunc(entry, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return names
}

// listTools lists the tools. Beyond the protocol, allowed (repeatable) selects
// some by name or pattern.
func listTools(ctx context.Context, q *request) reply {
	query := q.r.URL.Query()
	filter := sandbox.ToolFilter{Allowed: allowedNames(query["allowed"])}
	if query.Has("include_hidden") {
		hidden, ok := parseFlag(query.Get("include_hidden"))
		if !ok {
			return queryFault("include_hidden", "value could not be parsed to a boolean", "type_error.bool")
		}
		filter.Hidden = hidden
	}
	tools, err := q.ex.Tools(ctx, filter)
	if err != nil {
		return failure(err)
	}
	views := make([]toolView, len(tools))
	for i, t := range tools {
		views[i] = viewTool(t)
	}
	return plain(http.StatusOK, struct {
		Tools []toolView `json:"tools"`
		Count int        `json:"count"`
	}{views, len(views)})
}

// toolSchema describes one tool, by any name that execute takes for it.
func toolSchema(ctx context.Context, q *request) reply {
	tools, err := q.ex.Tools(ctx, sandbox.ToolFilter{Hidden: true})
	if err != nil {
		return failure(err)
	}
	if t := findTool(tools, q.name); t != nil {
		return plain(http.StatusOK, viewTool(*t))
	}
	return plain(http.StatusNotFound, struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}{"error", "Tool not found: " + q.name})
}

// findTool returns the tool that a name means, nil if none or several: a schema
// name, else by the rules of executors, see section 4.1 of the protocol.
func findTool(tools []sandbox.ToolInfo, name string) *sandbox.ToolInfo {
	byName := map[string]string{} // full names and aliases → full name
	var simple []string
	for _, t := range tools {
		byName[t.FullName] = t.FullName
		for _, alias := range t.Aliases {
			byName[alias] = t.FullName
		}
		if t.Name == name {
			simple = append(simple, t.FullName)
		}
	}
	full := newSchemaNames(tools).full[name]
	if full == "" && strings.Contains(name, ":") {
		full = byName[name]
	} else if full == "" {
		full = resolveVariant(byName, name)
	}
	if full == "" && len(simple) == 1 {
		full = simple[0]
	}
	i := slices.IndexFunc(tools, func(t sandbox.ToolInfo) bool { return t.FullName == full })
	if i < 0 {
		return nil
	}
	return &tools[i]
}

// queryFault is the 422 for a query parameter.
func queryFault(name, msg, kind string) reply {
	r := refusal(sandbox.ErrInvalidType, "query."+name+": "+msg)
	r.status = http.StatusUnprocessableEntity
	r.detail = encode([]fault{{Loc: []any{"query", name}, Msg: msg, Type: kind}})
	return *r
}
