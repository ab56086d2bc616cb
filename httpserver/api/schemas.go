package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// parameterView is one entry of the list form of a tool's parameters.
type parameterView struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	ArrayType   string            `json:"array_type,omitempty"`
	Enum        []json.RawMessage `json:"enum,omitempty"`
	Description string            `json:"description"`
	Required    bool              `json:"required"`
}

// schemaView is the list form of a tool, for prompts.
type schemaView struct {
	Name        string          `json:"name"`
	FullName    string          `json:"full_name"`
	Description string          `json:"description"`
	Parameters  []parameterView `json:"parameters"`
	Server      string          `json:"server,omitempty"` // of an MCP tool
	Tool        string          `json:"tool,omitempty"`
}

// functionView is the form that chat models take as a tool.
type functionView struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
	} `json:"function"`
}

// callerKey is a parameter that programs add to calls of data tools, and that
// models are not told of.
const callerKey = "seed_path"

// toolSchemas lists tools in a form to hand to a model.
func toolSchemas(ctx context.Context, q *request) reply {
	query := q.r.URL.Query()
	format := query.Get("format")
	if format != "" && format != "list" && format != "openai" {
		return queryFault("format", "want list or openai", "value_error")
	}
	all, err := q.ex.Tools(ctx, sandbox.ToolFilter{Hidden: true})
	if err != nil {
		return failure(err)
	}
	names := newSchemaNames(all)
	allowed := allowedNames(query["allowed"])
	list, functions := []schemaView{}, []functionView{}
	for _, t := range all {
		name := names.of[t.FullName]
		named := t // the filter may speak of the schema's name too
		named.Aliases = append(slices.Clone(t.Aliases), name)
		if !(sandbox.ToolFilter{Allowed: allowed}).Match(named) {
			continue
		}
		if format == "openai" {
			functions = append(functions, functionOf(t, name))
		} else {
			list = append(list, schemaOf(t, name))
		}
	}
	if format == "openai" {
		return plain(http.StatusOK, struct {
			Schemas []functionView `json:"schemas"`
			Count   int            `json:"count"`
		}{functions, len(functions)})
	}
	return plain(http.StatusOK, struct {
		Schemas []schemaView `json:"schemas"`
		Count   int          `json:"count"`
	}{list, len(list)})
}

func schemaOf(t sandbox.ToolInfo, name string) schemaView {
	v := schemaView{Name: name, FullName: t.FullName, Description: t.Description, Parameters: []parameterView{}}
	for _, p := range parameters(t.InputSchema) {
		if p.Name != callerKey {
			v.Parameters = append(v.Parameters, p)
		}
	}
	if rest, mcp := strings.CutPrefix(t.FullName, "mcp:"); mcp {
		v.Server, v.Tool, _ = strings.Cut(rest, ".")
	}
	return v
}

func functionOf(t sandbox.ToolInfo, name string) functionView {
	v := functionView{Type: "function"}
	v.Function.Name, v.Function.Description = name, t.Description
	o := readSchema(t.InputSchema)
	required := []string{}
	for _, r := range o.required {
		if r != callerKey {
			required = append(required, r)
		}
	}
	b := []byte(`{"type":"object","properties":{`)
	first := true
	for _, p := range o.properties {
		if p.key == callerKey {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(appendString(b, p.key), ':'), p.value...)
	}
	b = append(append(b, `},"required":`...), encode(required)...)
	v.Function.Parameters = append(b, '}')
	return v
}

// schemaObject is what a listing needs of a JSON schema for an object.
type schemaObject struct {
	properties []member // as they are written
	required   []string
}

func readSchema(schema json.RawMessage) schemaObject {
	var s struct {
		Properties json.RawMessage `json:"properties"`
		Required   []string        `json:"required"`
	}
	if len(schema) == 0 || wire.Unmarshal(schema, &s) != nil || len(s.Properties) == 0 {
		return schemaObject{}
	}
	if s.Properties[0] != '{' {
		return schemaObject{}
	}
	return schemaObject{split(s.Properties), s.Required}
}

// parameters returns the list form of an input schema.
func parameters(schema json.RawMessage) []parameterView {
	o := readSchema(schema)
	list := make([]parameterView, 0, len(o.properties))
	for _, m := range o.properties {
		var s struct {
			Type        json.RawMessage   `json:"type"`
			Description string            `json:"description"`
			Enum        []json.RawMessage `json:"enum"`
			Items       struct {
				Type json.RawMessage `json:"type"`
			} `json:"items"`
		}
		// A schema may also be true, or more than this form can say: then
		// what is left out stays empty.
		_ = wire.Unmarshal(m.value, &s)
		p := parameterView{Name: m.key, Type: schemaType(s.Type), Enum: s.Enum, Description: s.Description}
		if p.Type == "array" {
			p.ArrayType = schemaType(s.Items.Type)
		}
		for _, r := range o.required {
			p.Required = p.Required || r == m.key
		}
		list = append(list, p)
	}
	return list
}

// schemaType returns the type of a schema, of several the first that is not
// null; string, which every value can be written as, if it names none.
func schemaType(raw json.RawMessage) string {
	var one string
	if len(raw) > 0 && raw[0] == '"' && wire.Unmarshal(raw, &one) == nil {
		return one
	}
	var several []string
	if len(raw) > 0 && wire.Unmarshal(raw, &several) == nil {
		for _, t := range several {
			if t != "null" {
				return t
			}
		}
	}
	return "string"
}
