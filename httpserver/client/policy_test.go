package client_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
)

func TestAnEmptyListIsSentAsOne(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "fake"}, sandbox.BackendFuncs[*counter]{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: sandbox.Confinement{
		Egress: sandbox.Egress{Allow: []string{"example.com"}}, AllowDegraded: []string{"cpu"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	h, err := api.New(sb, api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c := connect(t, srv.URL, client.Options{})
	for name, strict := range map[string]sandbox.Confinement{
		"no network":       {Egress: sandbox.Egress{Allow: []string{}}},
		"nothing degraded": {AllowDegraded: []string{}},
	} {
		create := func(conf sandbox.Confinement) (sandbox.SessionInfo, error) {
			return c.CreateSession(t.Context(), name, "fake", sandbox.SessionOptions{Confinement: &conf})
		}
		if _, err := create(strict); err != nil {
			t.Fatal(err)
		}
		if info, err := create(strict); err != nil || !info.Existing {
			t.Errorf("%s again: %+v, %v", name, info, err)
		}
		// The sandbox's own policy is another: the session did not inherit it.
		if info, err := create(sandbox.Confinement{}); sandbox.CodeOf(err) != sandbox.ErrConflict {
			t.Errorf("%s: inherited the server's list: %+v, %v; want ErrConflict", name, info, err)
		}
	}
}
