package code_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/code"
)

func TestWhatPolicyRefusedIsTold(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	tools := code.Register(&reg, code.Config{})
	sb, err := sandbox.New(sandbox.Options{Registry: &reg, ValidateTyped: true,
		Confine: sandbox.Confinement{Level: "bwrap", Egress: sandbox.Egress{Allow: []string{"example.com"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sb.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	b := (&box{t, tools, sb, sb.Worker(t.Name())}).session("")
	for _, in := range []code.RunInput{
		{Code: "import urllib.request\nurllib.request.urlopen('https://forbidden.example/')"},
		{Language: "bash", Code: "curl -s https://forbidden.example/"},
	} {
		out := b.run(in)
		if diff := cmp.Diff([]string{"network denied: forbidden.example:443 is not in the allow list"}, out.Denied); diff != "" {
			t.Errorf("%.10q: denied (-want +got):\n%s\n%+v", in.Code, diff, out)
		}
	}
	if out := b.run(code.RunInput{Code: "1"}); out.Denied != nil {
		t.Errorf("told again: %q", out.Denied)
	}
	_, err = tools.Install.Call(t.Context(), b.w, code.InstallInput{Packages: []string{"https://forbidden.example/x-1-py3-none-any.whl"}})
	if !errors.Is(err, sandbox.ErrDenied) || !strings.Contains(err.Error(), "forbidden.example:443 is not in the allow list") {
		t.Errorf("install from a host that is not in the allow list: %v", err)
	}
}
