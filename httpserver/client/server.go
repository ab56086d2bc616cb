package client

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// toolView is a tool as the server shows it.
type toolView struct {
	Name         string          `json:"name"`
	FullName     string          `json:"full_name"`
	Description  string          `json:"description"`
	InputSchema  json.RawMessage `json:"input_schema"`
	OutputSchema json.RawMessage `json:"output_schema"`
	Aliases      []string        `json:"aliases"`
	Backend      string          `json:"backend"`
	Label        string          `json:"label"`
	Session      bool            `json:"session"`
	ReadOnly     bool            `json:"read_only"`
	Idempotent   bool            `json:"idempotent"`
	Hidden       bool            `json:"hidden"`
}

// Tools lists the server's tools; see [sandbox.Executor].
func (c *Client) Tools(ctx context.Context, f sandbox.ToolFilter) ([]sandbox.ToolInfo, error) {
	if f.Allowed != nil && len(f.Allowed) == 0 { // nothing is allowed, which a query cannot say
		return []sandbox.ToolInfo{}, nil
	}
	query := url.Values{"allowed": f.Allowed, "include_hidden": {strconv.FormatBool(f.Hidden)}}
	a, err := c.send(ctx, &message{method: http.MethodGet, path: "/api/v1/tools?" + query.Encode()})
	if err != nil {
		return nil, err
	}
	var view struct {
		Tools []toolView `json:"tools"`
	}
	if err := a.decode(&view); err != nil {
		return nil, err
	}
	if view.Tools == nil {
		return nil, noAnswer("tools")
	}
	infos := []sandbox.ToolInfo{}
	for _, t := range view.Tools {
		infos = append(infos, toolInfo(t))
	}
	return infos, nil
}

func toolInfo(t toolView) sandbox.ToolInfo {
	return sandbox.ToolInfo{
		Name: t.Name, FullName: t.FullName, Backend: t.Backend, Label: t.Label, Session: t.Session,
		Description: t.Description, Aliases: t.Aliases, InputSchema: t.InputSchema, OutputSchema: t.OutputSchema,
		ReadOnly: t.ReadOnly, Idempotent: t.Idempotent, Hidden: t.Hidden,
	}
}

// Warmup warms backends of the server up; see [sandbox.Executor].
func (c *Client) Warmup(ctx context.Context, backends ...string) (sandbox.Status, error) {
	a, err := c.post(ctx, "/api/v1/warmup", map[string][]string{"backends": backends})
	if err != nil {
		return sandbox.Status{}, err
	}
	var view struct {
		Results map[string]bool   `json:"results"`
		Errors  map[string]string `json:"errors"`
	}
	if err := a.decode(&view); err != nil {
		return sandbox.Status{}, err
	}
	if view.Results == nil {
		return sandbox.Status{}, noAnswer("results")
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(view.Errors)) {
		text := view.Errors[name]
		if strings.HasPrefix(text, "Backend not found") {
			errs = append(errs, sandbox.Errorf(sandbox.ErrNotInitialized, "%s", text))
			continue
		}
		errs = append(errs, sandbox.Errorf(sandbox.ErrBackendNotInitialized,
			"Backend not initialized: %s: %s", name, strings.TrimPrefix(text, "Warmup exception: ")))
	}
	status, err := c.Status(ctx)
	return status, errors.Join(append(errs, err)...)
}

// Status describes the server's sandbox; see [sandbox.Executor]. A token that
// is bound to workers may not ask.
func (c *Client) Status(ctx context.Context) (sandbox.Status, error) {
	a, err := c.send(ctx, &message{method: http.MethodGet, path: "/api/v1/status"})
	if err != nil {
		return sandbox.Status{}, err
	}
	var data struct {
		Level      string   `json:"level"`
		Unenforced []string `json:"unenforced"`
		Tools      int      `json:"tools"`
		Workers    int      `json:"workers"`
		Sessions   int      `json:"sessions"`
		Denied     int      `json:"denied"`
		Abandoned  int      `json:"abandoned"`
		Backends   []struct {
			Name     string `json:"name"`
			Warm     bool   `json:"warm"`
			Error    string `json:"error"`
			Sessions int    `json:"sessions"`
			Pooled   int    `json:"pooled"`

			Description string `json:"description"`
			Version     string `json:"version"`
		} `json:"backends"`
	}
	if err := a.decodeData(&data); err != nil {
		return sandbox.Status{}, err
	}
	st := sandbox.Status{
		Level: data.Level, Unenforced: data.Unenforced, Tools: data.Tools, Workers: data.Workers,
		Sessions: data.Sessions, Denied: data.Denied, Abandoned: data.Abandoned,
	}
	for _, b := range data.Backends {
		st.Backends = append(st.Backends, sandbox.BackendStatus{
			Name: b.Name, Description: b.Description, Version: b.Version,
			Warm: b.Warm, Err: b.Error, Sessions: b.Sessions, Pooled: b.Pooled,
		})
	}
	return st, nil
}
