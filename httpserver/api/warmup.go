package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// warmSummary counts backends.
type warmSummary struct {
	Total    int `json:"total"`
	WarmedUp int `json:"warmed_up"`
	Pending  int `json:"pending"`
}

func summarize(st sandbox.Status) warmSummary {
	s := warmSummary{Total: len(st.Backends)}
	for _, b := range st.Backends {
		if b.Warm {
			s.WarmedUp++
		}
	}
	s.Pending = s.Total - s.WarmedUp
	return s
}

// warmup warms backends up. It answers 200 whatever happens, unless the sandbox
// is stopping: the results say what did.
func warmup(ctx context.Context, q *request) reply {
	asked := q.body.names("backends")
	if refused := q.body.refused(); refused != nil {
		return *refused
	}
	before, err := q.ex.Status(ctx)
	if err != nil {
		return failure(err)
	}
	known := make([]string, len(before.Backends))
	for i, b := range before.Backends {
		known[i] = b.Name
	}
	if len(asked) == 0 {
		asked = known
	}
	var warm []string
	for _, name := range asked {
		if slices.Contains(known, name) {
			warm = append(warm, name)
		}
	}
	after := before
	var failed error
	if len(warm) > 0 { // no names would mean all of them
		var st sandbox.Status
		st, failed = q.ex.Warmup(ctx, warm...)
		if errors.Is(failed, sandbox.ErrStopping) {
			return failure(failed)
		}
		if len(st.Backends) > 0 {
			after = st
		}
	}
	results, errs := map[string]bool{}, map[string]string{}
	for _, name := range asked {
		i := slices.IndexFunc(after.Backends, func(b sandbox.BackendStatus) bool { return b.Name == name })
		switch {
		case i < 0:
			results[name] = false
			errs[name] = fmt.Sprintf("Backend not found: %s. Available backends: %s", name, pythonList(known))
		case after.Backends[i].Warm:
			results[name] = true
		default:
			results[name] = false
			errs[name] = warmupFault(after.Backends[i], failed)
		}
	}
	view := struct {
		Status  string            `json:"status"`
		Results map[string]bool   `json:"results"`
		Summary warmSummary       `json:"summary"`
		Errors  map[string]string `json:"errors,omitempty"`
	}{"success", results, summarize(after), errs}
	if len(errs) > 0 {
		view.Status = "partial_error"
	}
	return plain(http.StatusOK, view)
}

// warmupFault is the text for a backend that is still cold.
func warmupFault(b sandbox.BackendStatus, failed error) string {
	switch {
	case b.Err != "":
		return "Warmup exception: " + b.Err
	case failed != nil:
		return "Warmup exception: " + failed.Error()
	}
	return "Warmup exception: the backend is not warm"
}

// names reads a list of strings, or one string that stands for a list of one.
func (f *fields) names(name string) []string {
	raw := f.get(name)
	if raw == nil {
		return nil
	}
	if one, ok := asText(raw); ok && raw[0] == '"' {
		return []string{one}
	}
	var list []json.RawMessage
	if raw[0] != '[' || wire.Unmarshal(raw, &list) != nil {
		f.fault(sandbox.ErrInvalidType, "value is not a valid list", "type_error.list", name)
		return nil
	}
	names := make([]string, len(list))
	for i, item := range list {
		var ok bool
		if names[i], ok = asText(item); !ok {
			f.fault(sandbox.ErrInvalidType, "str type expected", "type_error.str", name, i)
		}
	}
	return names
}

// pythonList prints strings as Python prints a list of them.
func pythonList(names []string) string {
	if len(names) == 0 {
		return "[]"
	}
	return "['" + strings.Join(names, "', '") + "']"
}

// backendView is a backend in warmup/status.
type backendView struct {
	Loaded   bool   `json:"loaded"`
	WarmedUp bool   `json:"warmed_up"`
	Error    string `json:"error,omitempty"`
}

// warmupStatus tells which backends are warm.
func warmupStatus(ctx context.Context, q *request) reply {
	st, err := q.ex.Status(ctx)
	if err != nil {
		return failure(err)
	}
	backends := map[string]backendView{}
	for _, b := range st.Backends {
		backends[b.Name] = backendView{Loaded: true, WarmedUp: b.Warm, Error: b.Err}
	}
	return plain(http.StatusOK, struct {
		Backends map[string]backendView `json:"backends"`
		Summary  warmSummary            `json:"summary"`
	}{backends, summarize(st)})
}
