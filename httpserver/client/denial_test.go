package client_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
)

// denying is an executor whose calls were refused something.
type denying struct {
	sandbox.Executor
	denied []sandbox.Denial
}

func (d denying) Execute(ctx context.Context, req sandbox.Request) sandbox.Response {
	resp := d.Executor.Execute(ctx, req)
	resp.Meta.Denied, resp.Meta.DeniedTotal = d.denied, 7
	return resp
}

func (d denying) ExecuteBatch(ctx context.Context, reqs []sandbox.Request, o sandbox.BatchOptions) sandbox.BatchResponse {
	return sandbox.RunBatch(ctx, reqs, o, d.Execute)
}

func (d denying) Status(ctx context.Context) (sandbox.Status, error) {
	st, err := d.Executor.Status(ctx)
	st.Denied = 7
	return st, err
}

func TestDenialsTravel(t *testing.T) {
	t.Parallel()
	want := []sandbox.Denial{
		{Host: "a.example", Port: 443, Rule: "allow list", Text: "network denied: a.example:443 is not in the allow list", Count: 2},
		{Rule: "HTTP syntax", Text: "network denied: malformed request", Count: 5},
	}
	ex := denying{newSandbox(t), want}
	c := connect(t, serve(t, ex, api.Options{}), client.Options{})
	req := sandbox.Request{Worker: "w", Tool: "echo", Params: json.RawMessage(`{}`)}
	batch := c.ExecuteBatch(t.Context(), []sandbox.Request{req}, sandbox.BatchOptions{})
	if len(batch.Results) != 1 {
		t.Fatalf("batch = %+v", batch)
	}
	failing := req
	failing.Tool = "math:half"
	for name, meta := range map[string]sandbox.Meta{
		"a call": c.Execute(t.Context(), req).Meta, "one that fails": c.Execute(t.Context(), failing).Meta, "one of a batch": batch.Results[0].Meta,
	} {
		if diff := cmp.Diff(want, meta.Denied); diff != "" || meta.DeniedTotal != 7 {
			t.Errorf("%s: total %d, denied (-want +got):\n%s", name, meta.DeniedTotal, diff)
		}
	}
	if st, err := c.Status(t.Context()); err != nil || st.Denied != 7 {
		t.Errorf("Status.Denied = %d, %v, want 7", st.Denied, err)
	}
}
